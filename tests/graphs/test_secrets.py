"""No secret of the environment, and nothing written like one, is stored, logged, sent, shown or reported."""

import logging
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import StructuredTool

from plan_execute.agent.state import PlanExecuteInput
from plan_execute.graphs import create_plan_execute_agent, open_checkpointer
from plan_execute.graphs.cli.main import main
from tests.fakes import Answer, Asked, ScriptedModel, milestone, plan, report, synthesis, tool_call

KEY = "canary-of-the-environment"
TOKEN = "ghp_canarycanarycanarycanarycanarycanary"
PLACES = ["request", "plan", "arguments", "result", "error", "report", "answer", "model error"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("secret", [KEY, TOKEN, f"https://me:{KEY}@host/"])
def test_secret_reaches_no_checkpoint_event_log_or_page(
    place: str,
    secret: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("SHOP_API_KEY", KEY)

    def at(*places: str) -> str:
        return f"here: {secret}" if place in places else "nothing here"

    def look(subject: str) -> str:
        if place == "error":
            raise ValueError(at("error"))
        return at("result")

    def heavy(asked: Asked) -> Answer:
        if asked.tools == ["Synthesis"]:
            return synthesis(at("answer"))
        return plan(milestone(at("plan")), strategy=at("plan"))

    def light(asked: Asked) -> Answer:
        if place == "model error":
            return ConnectionError(at("model error"))
        if any(message.type == "tool" for message in asked.messages):
            return report(at("report"), "failed" if place == "error" else "succeeded")
        return tool_call("look_up", {"subject": at("arguments")})

    given: PlanExecuteInput = {"messages": [{"role": "user", "content": at("request")}]}
    config: Any = {"configurable": {"thread_id": "t"}}
    url = f"sqlite:///{tmp_path / 'threads.sqlite'}"
    with open_checkpointer(url) as saver:
        tool = StructuredTool.from_function(look, name="look_up", description="Look up.")
        agent = create_plan_execute_agent(
            ScriptedModel(heavy),
            ScriptedModel(light),
            [tool],
            context={"max_replans": 0, "max_attempts": 1},
            checkpointer=saver,
        )
        # What a model says LangGraph itself streams, word for word; here no model was told a secret.
        said = place in {"arguments", "report"}
        modes: Any = ["values", "updates", "custom", "debug", *([] if said else ["messages"])]
        news = str(list(agent.stream(given, config, stream_mode=modes, subgraphs=True)))
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    page = tmp_path / "page.html"
    assert main(["report", "t", "--checkpointer", url, "--output", str(page)]) == 0
    assert main(["show", "t", "--checkpointer", url, "--json"]) == 0
    shown = capsys.readouterr()
    for canary in (KEY, TOKEN):
        assert canary.encode() not in stored
        assert canary not in news
        assert canary not in caplog.text
        assert canary not in page.read_text() + shown.out + shown.err
    assert b"[redacted]" in stored
