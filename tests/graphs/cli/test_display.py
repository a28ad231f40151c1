"""What a person reads of a run: harmless lines, plain ones where nothing moves, live ones on a terminal."""

import io
import re
from typing import Any

import pytest

from plan_execute.agent.state import RoleUsage, RunState
from plan_execute.graphs.cli.display import Screen, describe_usage, is_live
from plan_execute.graphs.cli.progress import Progress
from plan_execute.graphs.formatting import duration, one_line, visible

AT = "2026-01-01T10:00:00.000+00:00"
LATER = "2026-01-01T10:01:05.000+00:00"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def event(kind: str, **facts: Any) -> dict[str, Any]:
    return {"type": kind, "at": AT, "revision": 1, "milestone": "m1", **facts}


def started(key: str = "m1") -> dict[str, Any]:
    return event("milestone_started", milestone=key, goal="Look", attempt=1)


def finished(key: str = "m1", status: str = "completed", code: str | None = None) -> dict[str, Any]:
    return event("milestone_finished", milestone=key, at=LATER, status=status, code=code, reason="")


def call(tool: str = "query", key: str = "m1", **args: Any) -> dict[str, Any]:
    return event("tool_started", milestone=key, tool=tool, call=f"{key}-{tool}", args=args)


def answered(result: str, tool: str = "query", key: str = "m1", ok: bool = True) -> dict[str, Any]:
    return event("tool_finished", milestone=key, tool=tool, call=f"{key}-{tool}", ok=ok, result=result)


def told(*events: dict[str, Any]) -> list[str]:
    progress = Progress()
    return [f"{line.mark} {line.text}".strip() for given in events for line in progress.take(given)]


def test_milestone_tells_its_goal_its_calls_and_its_time() -> None:
    lines = told(started(), call(sql="SELECT 1"), answered("[1]"), finished())
    assert lines == ["▸ m1 Look", "query(SELECT 1)", "→ [1]", "✓ m1 completed, 1 min 5 s"]


def test_failed_milestone_tells_its_class_of_failure() -> None:
    assert told(started(), finished(status="blocked", code="missing"))[-1] == "✗ m1 blocked (missing), 1 min 5 s"


def test_several_arguments_carry_their_names_and_data_stays_json() -> None:
    assert told(started(), call(name="a b", parts=[1, None]), answered(""))[1:] == [
        "query(name=a b, parts=[1, null])",
        "→ (nothing)",
    ]


def test_calls_name_their_milestone_while_several_are_in_progress() -> None:
    lines = told(started("m1"), started("m2"), call(key="m2", x="b"), call(key="m1", x="a"), answered("A", key="m1"))
    assert lines[2:] == ["m1 query(a)", "→ A"]


def test_replan_tells_its_reason_and_what_was_given_up() -> None:
    changes = {"m4": {"goal": "Other way", "depends_on": ["m1"]}, "m3": {"status": "skipped"}}
    lines = told(
        event("decision", action="replan", rule="failed", reason="m2 (Look): nothing there", code="missing"),
        event("plan_revised", revision=2, plan={"strategy": "Anew."}, added=["m4"], dropped=["m3"], changes=changes),
    )
    assert lines == [
        "",
        "↻ Replanning: m2 (Look): nothing there",
        "Plan, revision 2: Anew.",
        "m4 Other way (after m1)",
        "Given up: m3",
        "",
    ]


def test_revision_that_plans_nothing_is_one_line() -> None:
    revised = event("plan_revised", revision=2, plan={"strategy": "Answer."}, added=[], dropped=["m2"], changes={})
    assert told(revised) == ["Plan, revision 2: nothing is left to do. Given up: m2."]


def test_class_of_failure_that_says_no_more_than_the_status_is_left_out() -> None:
    assert told(started(), finished(status="failed", code="failed"))[-1] == "✗ m1 failed, 1 min 5 s"


def test_unknown_events_are_passed_over() -> None:
    assert told({"type": "answer_delta", "text": "x"}, {"anything": 1}) == []


@pytest.mark.parametrize("text", ["\x1b[2Jgone", "a\x9b31m", "bell\x07", "del\x7f", "\u202eevil", "line\u2028sep\r"])
def test_control_characters_are_spelled_out(text: str) -> None:
    shown = one_line(text) + visible(text, lines=True)
    assert not set(shown) & set("\x1b\x9b\x07\x7f\u202e\u2028\r")


def test_answers_keep_their_lines() -> None:
    assert visible("a\n\tb\x1b[0m", lines=True) == "a\n\tb\\x1b[0m"


def test_long_text_is_cut_to_one_line() -> None:
    assert one_line("a\n" * 500, 20) == "a a a a a a a a a..."


def test_tool_output_cannot_drive_the_terminal() -> None:
    stream = Terminal()
    with Screen(stream) as screen:
        for given in (started(), call(sql="\x1b]0;title\x07"), answered("\x1b[2Jgone [red]markup[/red]")):
            screen.take(given)
    shown = stream.getvalue()
    assert "\x1b]0" not in shown
    assert "\x1b[2J" not in shown
    assert "[red]markup[/red]" in shown


@pytest.mark.parametrize("variable", [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_plain_where_the_environment_asks_for_it(variable: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert is_live(Terminal())
    monkeypatch.setenv(*variable)
    assert not is_live(Terminal())


def test_plain_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    with Screen(stream) as screen:
        screen.take(started())
        screen.refresh()
    assert stream.getvalue() == "▸ m1 Look\n"


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252", "cp437"])
def test_narrow_encodings_get_signs_they_have(encoding: str) -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding=encoding)
    with Screen(stream) as screen:
        for given in (started(), call(x="日本"), answered("✓"), finished()):
            screen.take(given)
    stream.flush()
    assert buffer.getvalue().decode(encoding).splitlines()[0] == "> m1 Look"


def test_usage_leaves_out_what_nobody_reported() -> None:
    unknown = RoleUsage(calls=1, input_tokens=0, output_tokens=0, usd=None, models={})
    known = RoleUsage(calls=2, input_tokens=1200, output_tokens=30, usd=0.5, models={"gpt-5": unknown})
    assert describe_usage({**unknown, "models": {"local": unknown}}) == "1 call (local)"
    assert describe_usage(known) == "2 calls, 1,200 tokens in, 30 out, $0.5000 (gpt-5)"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (12.4, "12 s"), (59.9, "1 min 0 s"), (61, "1 min 1 s")]
)
def test_durations_are_worded(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_answer_on_a_terminal_is_set_as_markdown_and_keeps_its_lines() -> None:
    stream = Terminal()
    state = RunState(
        plan=None, status="completed", error=None, usage={}, answer="**One**\nTwo\x1b[2J\n\n| a |\n|---|\n| b |"
    )
    Screen(stream).end(state, 3.0)
    lines = [re.sub(r"\x1b\[[\d;?]*[a-zA-Z]|[│]", "", line).strip() for line in stream.getvalue().splitlines()]
    assert "One" in lines
    assert "Two\\x1b[2J" in lines
    assert "b" in lines
    assert lines[-1] == "Completed in 3.0 s"
