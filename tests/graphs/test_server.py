"""Both graphs as `langgraph dev` serves them, asked through the SDK."""

from typing import Any

import pytest
from langgraph_sdk.client import SyncLangGraphClient

from plan_execute.agent import Context
from tests.langgraph_server import LangGraphServer
from tests.openai_server import OpenAIServer


def test_both_graphs_are_served(client: SyncLangGraphClient) -> None:
    served = client.assistants.search()
    assert {assistant["graph_id"] for assistant in served} == {"plan_execute", "executor"}


@pytest.mark.parametrize("graph", ["plan_execute", "executor"])
def test_settings_make_a_form(client: SyncLangGraphClient, graph: str) -> None:
    schema = client.assistants.get_schemas(_assistant(client, graph))["context_schema"]
    assert schema is not None
    assert set(schema["properties"]) == set(Context.model_fields)
    for name, field in schema["properties"].items():
        group = schema["$defs"][field["$ref"].rpartition("/")[2]] if "$ref" in field else {}
        assert {"title", "description", "default"} <= {*field, *group}, name


def test_graph_can_be_drawn(client: SyncLangGraphClient) -> None:
    nodes = {node["id"] for node in client.assistants.get_graph(_assistant(client, "plan_execute"))["nodes"]}
    assert {"intake", "planner", "executor", "replan_gate", "synthesize"} <= nodes


def test_run_streams_its_plan_its_tools_and_its_answer(client: SyncLangGraphClient) -> None:
    thread = client.threads.create()["thread_id"]
    parts = list(
        client.runs.stream(
            thread,
            "plan_execute",
            input=_question("What is 6 * 7?"),
            context={"client": "program"},
            stream_mode=["updates", "messages-tuple", "custom"],
            stream_subgraphs=True,
        )
    )
    events = [part.data["type"] for part in parts if part.event.startswith("custom")]
    assert events[0] == "plan_created"
    assert events[-1] == "answer"
    assert {"milestone_started", "milestone_finished", "decision"} <= set(events)
    updated = [name for part in parts if part.event == "updates" for name in part.data]
    assert updated == ["intake", "planner", "executor", "replan_gate", "synthesize"]
    assert any(part.event.startswith("updates|executor:") for part in parts)
    messages = [(part.event, part.data[0]) for part in parts if part.event.startswith("messages")]
    assert any(message["type"] == "tool" and message["content"] == "42" for _, message in messages)
    assert "".join(message["content"] for event, message in messages if event == "messages") == "It is 42."

    state = client.threads.get_state(thread)
    assert state["next"] == []
    values = _values(state["values"])
    assert (values["status"], values["answer"], values["error"]) == ("completed", "It is 42.", None)
    assert [message["type"] for message in values["messages"]] == ["human", "ai"]
    assert values["milestones"]["m1"]["status"] == "completed"


def test_chat_is_shown_the_question_the_plan_and_the_answer_and_nothing_of_the_executor(
    client: SyncLangGraphClient,
) -> None:
    thread = client.threads.create()["thread_id"]
    # As Agent Chat UI and `useStream` ask for it.
    parts = list(
        client.runs.stream(
            thread,
            "plan_execute",
            input=_question("What is 6 * 7?"),
            stream_mode=["values", "messages-tuple", "updates"],
            stream_subgraphs=True,
        )
    )
    shown = [part.data["messages"] for part in parts if part.event.startswith("values")]
    assert [part.event for part in parts if part.event.startswith("values|")] == []
    assert {messages[0]["content"] for messages in shown} == {"What is 6 * 7?"}
    plans = [messages[1]["content"] for messages in shown if len(messages) == 2]
    assert any("- [ ] Work out 6 * 7." in text for text in plans)
    assert any("- [x] Work out 6 * 7." in text for text in plans)
    streamed = [part for part in parts if part.event.startswith("messages")]
    assert {part.event for part in streamed} == {"messages"}
    assert "".join(part.data[0]["content"] for part in streamed) == "It is 42."
    assert {part.data[0]["id"] for part in streamed} == {shown[-1][-1]["id"]}
    assert [message["type"] for message in shown[-1]] == ["human", "ai"]


def test_plan_to_review_is_a_text_that_a_message_answers(client: SyncLangGraphClient) -> None:
    thread = client.threads.create()["thread_id"]
    waiting = _run(client, "What is 6 * 7?", {"review": "first"}, thread)["__interrupt__"][0]
    [request] = waiting["value"]["action_requests"]
    assert request["args"].keys() == {"plan"}
    assert "goal: Work out 6 * 7.\n" in request["args"]["plan"]
    assert waiting["response_schema"]["required"] == ["decisions"]
    assert _run(client, "ok", None, thread)["answer"] == "It is 42."


def test_messages_mode_streams_too(client: SyncLangGraphClient) -> None:
    parts = client.runs.stream(
        None, "plan_execute", input=_question("What is 6 * 7?"), stream_mode="messages", stream_subgraphs=True
    )
    finals = [part.data[-1]["content"] for part in parts if part.event in {"messages/partial", "messages/complete"}]
    assert finals[-1] == "It is 42."


def test_context_of_the_run_is_in_force(client: SyncLangGraphClient) -> None:
    result = _run(client, "How heavy is the moon?", {"max_replans": 0})
    assert result["status"] == "aborted"
    assert result["error"]["code"] == "max_replans"
    assert result["error"]["replans"] == 0


def test_planner_model_of_the_run_is_asked(client: SyncLangGraphClient, models: OpenAIServer) -> None:
    _run(client, "What is 6 * 7?", {"planner_model": "openai:gpt-chosen"})
    assert "gpt-chosen" in [asked.model for asked in models.asked]


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ({"max_replans": "many"}, "max_replans"),
        ({"planner_model": "gpt5"}, "write it as provider:model"),
    ],
)
def test_bad_context_is_refused_with_its_reason(
    client: SyncLangGraphClient, context: dict[str, Any], said: str
) -> None:
    parts = list(client.runs.stream(None, "plan_execute", input=_question("What is 6 * 7?"), context=context))
    assert parts[-1].event == "error"
    assert said in parts[-1].data["message"]


@pytest.mark.parametrize("way", ["context", "configurable", "assistant"])
def test_caller_learns_nothing_about_files(client: SyncLangGraphClient, way: str) -> None:
    said = set()
    for path in (__file__, "/nowhere/model.gguf"):
        settings = {"executor_model": f"local:{path}"}
        assistant = "plan_execute"
        chosen: dict[str, Any] = {}
        if way == "assistant":
            assistant = client.assistants.create("plan_execute", context=settings)["assistant_id"]
        else:
            chosen = {"context": settings} if way == "context" else {"config": {"configurable": settings}}
        parts = list(client.runs.stream(None, assistant, input=_question("What is 6 * 7?"), **chosen))
        assert parts[-1].event == "error"
        said.add(parts[-1].data["message"].replace(path, "..."))
    assert len(said) == 1
    assert "cannot be chosen by a run" in said.pop()


def test_second_question_on_a_thread_is_a_run_of_its_own(client: SyncLangGraphClient) -> None:
    thread = client.threads.create()["thread_id"]
    first = _run(client, "How heavy is the moon?", {"max_replans": 1}, thread)
    assert first["status"] == "aborted"
    second = _run(client, "What is 6 * 7?", None, thread)
    assert (second["status"], second["answer"], second["error"]) == ("completed", "It is 42.", None)
    assert second["plan"]["revision"] == 1
    assert [milestone["status"] for milestone in second["milestones"].values()] == ["completed"]
    assert [message["type"] for message in second["messages"]] == ["human", "ai", "human", "ai"]


def test_executor_takes_a_brief(client: SyncLangGraphClient) -> None:
    brief: dict[str, Any] = {"goal": "Work out 6 * 7.", "tools": ["calculate"]}
    result = _values(client.runs.wait(None, "executor", input={"brief": brief}))
    [outcome] = result["milestones"].values()
    assert (outcome["status"], outcome["result"]) == ("completed", "42")


def test_nothing_blocked_the_server(server: LangGraphServer) -> None:
    _run(server.client, "What is 6 * 7?")
    text = server.log.read_text(errors="replace")
    assert "BlockingError" not in text
    assert "Blocking call" not in text


def _question(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def _run(
    client: SyncLangGraphClient, question: str, context: dict[str, Any] | None = None, thread: str | None = None
) -> dict[str, Any]:
    thread = thread or client.threads.create()["thread_id"]
    return _values(client.runs.wait(thread, "plan_execute", input=_question(question), context=context))


def _values(values: object) -> dict[str, Any]:
    assert isinstance(values, dict), values
    return values


def _assistant(client: SyncLangGraphClient, graph: str) -> str:
    return client.assistants.search(graph_id=graph)[0]["assistant_id"]
