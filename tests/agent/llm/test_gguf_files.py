"""Which file is behind `local:...`: a path, or a repository in a prepared cache of the Hugging Face hub."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from plan_execute.agent.errors import ModelError
from plan_execute.agent.llm import gguf_files
from plan_execute.agent.llm.gguf_files import choose_file, find_weights
from plan_execute.agent.llm.models import load_model

COMMIT = "0" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache; the hub itself cannot be reached."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    gguf_files._from_hub.cache_clear()
    yield tmp_path
    gguf_files._from_hub.cache_clear()


def put(cache: Path, *names: str) -> Path:
    """Store a repository in the form of the hub's cache."""
    folder = cache / "models--acme--Tiny-GGUF"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    snapshot = folder / "snapshots" / COMMIT
    for name in names:
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).write_bytes(b"GGUF")
    return snapshot


def test_repository_is_found_in_the_cache_without_a_network(cache: Path) -> None:
    snapshot = put(cache, "tiny-q8_0.gguf", "tiny-q4_k_m.gguf", "mmproj-tiny-q4_k_m.gguf", "README.md")
    assert find_weights("acme/Tiny-GGUF") == str((snapshot / "tiny-q4_k_m.gguf").resolve())
    assert find_weights("acme/Tiny-GGUF:Q8_0") == str((snapshot / "tiny-q8_0.gguf").resolve())


def test_model_named_by_its_repository_is_loaded(cache: Path) -> None:
    pytest.importorskip("xllamacpp")
    put(cache, "tiny-q4_k_m.gguf")
    assert not (load_model("local:acme/Tiny-GGUF").metadata or {}).get("compact")


@pytest.mark.parametrize("name", ["acme/Tiny-GGUF", "acme/Tiny-GGUF:Q2_K"])
def test_repository_that_is_neither_cached_nor_reachable_is_one_sentence(cache: Path, name: str) -> None:
    if name.endswith("Q2_K"):
        put(cache, "tiny-q8_0.gguf")
    with pytest.raises(
        ModelError, match=r"^Repository 'acme/Tiny-GGUF' is not in the cache and cannot be fetched"
    ) as e:
        find_weights(name)
    assert "\n" not in str(e.value)
    assert str(e.value).endswith("give 'local:' and the path of a .gguf file.")


def test_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gguf_files._from_hub.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match="needs the package huggingface_hub: pip install"):
        find_weights("acme/Tiny-GGUF")


@pytest.mark.parametrize("name", ["nowhere.gguf", "folder/nowhere.gguf", "/models/x", "a/b/c"])
def test_path_of_nothing_is_no_repository(name: str) -> None:
    with pytest.raises(ModelError, match="No model file at"):
        find_weights(name)


@pytest.mark.parametrize(
    ("names", "wanted", "chosen"),
    [
        (["a-Q8_0.gguf", "a-Q4_K_M.gguf"], "", "a-Q4_K_M.gguf"),
        (["a-F16.gguf"], "", "a-F16.gguf"),
        (["a-Q8_0.gguf"], "q8", "a-Q8_0.gguf"),
        (["a-Q8_0.gguf"], "Q2", None),
        (["README.md", "mmproj-a.gguf"], "", None),
        (["a-q4_k_m-00002-of-00002.gguf", "a-q4_k_m-00001-of-00002.gguf"], "", "a-q4_k_m-00001-of-00002.gguf"),
    ],
)
def test_file_of_a_repository_is_chosen(names: list[str], wanted: str, chosen: str | None) -> None:
    assert choose_file(names, wanted) == chosen
