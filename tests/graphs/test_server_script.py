"""What a client does with the agent on a server: review, edit, history, fork and cancel in one script of SDK calls."""

from collections.abc import Callable
from queue import Queue
from typing import Any

from langgraph_sdk.client import SyncLangGraphClient
from langgraph_sdk.schema import Command

GRAPH = "plan_execute"


def test_script_passes_on_langgraph_dev(client: SyncLangGraphClient, hung: "Queue[str]") -> None:
    converse(client, until_the_model_hangs=lambda: hung.get(timeout=60))


def converse(client: SyncLangGraphClient, until_the_model_hangs: Callable[[], object]) -> None:
    """Use everything a thread can do, on any server that speaks LangGraph's API.

    The models behind it plan one calculation for a question and answer "It is N."; the first time that the square of a
    number is asked for, the executor's never answers.
    """
    # A question whose plan is to be reviewed: the run stops at it.
    thread = client.threads.create()["thread_id"]
    parts = list(
        client.runs.stream(
            thread,
            GRAPH,
            input=question("What is 6 * 7?"),
            context={"review": "first", "client": "program"},
            stream_mode=["custom", "updates"],
        )
    )
    assert [part.data["type"] for part in parts if part.event == "custom"] == ["plan_created"]
    [waiting] = parts[-1].data["__interrupt__"]
    [request] = waiting["value"]["action_requests"]
    [milestone] = request["args"]["milestones"]
    assert (request["name"], milestone["goal"]) == ("review_plan", "Work out 6 * 7.")
    assert waiting["value"]["review_configs"] == [
        {"action_name": "review_plan", "allowed_decisions": ["approve", "edit", "reject", "respond"]}
    ]
    assert client.threads.get(thread)["status"] == "interrupted"

    # An edit that will not do is asked for again, with the reason.
    output = wait(client, thread, command=edit(milestones=[{**milestone, "tools": ["an oracle"]}]))
    [request] = output["__interrupt__"][0]["value"]["action_requests"]
    assert "unknown tool 'an oracle'" in request["description"]

    # One that will do is what runs.
    changed = {**milestone, "goal": "Work out 6 * 8."}
    *_, last = client.runs.stream(thread, GRAPH, command=edit(milestones=[changed]), stream_mode="values")
    assert (last.data["status"], last.data["answer"]) == ("completed", "It is 48.")

    # The history has every step, the latest first.
    history = client.threads.get_history(thread, limit=50)
    steps = ["__start__", "intake", "planner", "review", "executor", "replan_gate", "synthesize"]
    assert [state["next"] for state in reversed(history)] == [*([step] for step in steps), []]
    before_review, before_execution = history[4], history[3]

    # A fork from the review: the same plan is shown once more, and this time approved as it is.
    output = wait(client, thread, checkpoint=before_review["checkpoint"])
    assert output["__interrupt__"][0]["value"]["action_requests"][0]["args"]["milestones"] == [milestone]
    assert wait(client, thread, command=decide(type="approve"))["answer"] == "It is 42."

    # A fork from the execution, with a goal that was changed after the review.
    milestones = before_execution["values"]["milestones"]  # type: ignore[call-overload]  # or a list, say its types
    [revised] = [key for key, fields in milestones.items() if fields["status"] == "running"]
    goal = {"milestones": {revised: {"goal": "Work out 6 * 9."}}}
    client.threads.update_state(thread, goal, as_node="review", checkpoint=before_execution["checkpoint"])
    assert wait(client, thread)["answer"] == "It is 54."
    assert len(client.threads.get_history(thread, limit=50)) > len(history)  # forks add, they overwrite nothing

    # A run that hangs is cancelled; it goes on from there, and plans nothing again.
    run = client.runs.create(thread, GRAPH, input=question("What is 17 * 17?"))
    until_the_model_hangs()
    client.runs.cancel(thread, run["run_id"], wait=True)
    assert client.runs.get(thread, run["run_id"])["status"] == "interrupted"
    assert client.threads.get_state(thread)["next"] == ["executor"]
    output = wait(client, thread)
    assert (output["answer"], output["usage"]["planner"]["calls"]) == ("It is 289.", 1)

    # Or something else is asked instead; of what was cancelled the conversation has the question.
    run = client.runs.create(thread, GRAPH, input=question("What is 19 * 19?"))
    until_the_model_hangs()
    client.runs.cancel(thread, run["run_id"], wait=True)
    output = wait(client, thread, input=question("What is 2 * 3?"))
    assert [message["content"] for message in output["messages"]] == [
        "What is 6 * 7?",
        "It is 54.",
        "What is 17 * 17?",
        "It is 289.",
        "What is 19 * 19?",
        "What is 2 * 3?",
        "It is 6.",
    ]
    assert list(output["milestones"]) == ["m1"]


def question(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def decide(**decision: Any) -> Command:
    return {"resume": {"decisions": [decision]}}


def edit(**changes: Any) -> Command:
    return decide(type="edit", edited_action={"name": "review_plan", "args": changes})


def wait(client: SyncLangGraphClient, thread: str, **given: Any) -> dict[str, Any]:
    """Start a run on a thread, or go on with it if nothing is given, and wait for its output."""
    output = client.runs.wait(thread, GRAPH, **given)
    assert isinstance(output, dict)
    return output
