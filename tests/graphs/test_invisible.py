"""Nothing that a person does not see reaches a terminal, a page or a question, whoever wrote it."""

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its types are a package of their own
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.tools import StructuredTool, ToolException
from langgraph.checkpoint.memory import InMemorySaver

from plan_execute.graphs import create_plan_execute_agent
from plan_execute.graphs.cli import output
from plan_execute.graphs.cli.display import Screen
from plan_execute.graphs.cli.options import Options
from plan_execute.graphs.cli.run import run_until_done
from plan_execute.graphs.cli.terminal_prompts import TerminalPrompts
from plan_execute.graphs.cli.yaml_files import write_plan
from plan_execute.graphs.formatting import one_line, visible
from plan_execute.graphs.report import render_report
from plan_execute.graphs.yaml_text import write_yaml
from plan_execute.tools.characters import is_invisible
from tests.drawn import drawn
from tests.fakes import Answer, Asked, ScriptedModel, heavy, milestone, plan, report, synthesis, tool_call

SAMPLES = (
    "\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e"  # of no width
    "\u202a\u202b\u202d\u202e\u202c\u2066\u2067\u2068\u2069\u200e\u200f\u061c"  # the direction of writing
    "\U000e0001\U000e0041\U000e007f"  # tags
    "\ufe00\ufe0f\U000e0100\U000e01ef\u034f\u115f\u3164\uffa0\u2800\u2028\u2029"  # selectors, fillers, lines
    "\x00\x07\x08\x0d\x1b[2J\x1b]0;title\x07\x7f\x85\x9b31m"  # controls
).replace("\u2800", "")
ENTITIES = "&#8238;&#x200b;&#xE0041;&shy;&zwnj;&#27;[2J&#xFEFF;&rlm;"
EVIL = f"before{SAMPLES}behind"
RICH_WRITES = re.compile(r"\x1b\[[\d;?]*[mhlAK]|\r")
"""What Rich itself sends to move the cursor and to colour."""


def hidden_in(text: str) -> set[str]:
    return {character for character in text if is_invisible(character) and character not in "\n\t"}


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def executor(asked: Asked) -> Answer:
    """Call the milestone's tool with invisible arguments, and report the invisible."""
    if any(m.type == "tool" for m in asked.messages):
        return report(EVIL)
    return tool_call("pay", {"payee": EVIL})


def pay(payee: str) -> str:
    """Pay somebody."""
    if payee == "nobody":
        raise ToolException(EVIL)
    return f"paid {EVIL}"


def run(
    stream: io.StringIO,
    *answers: str,
    end: dict[str, Any] | None = None,
    light: Callable[[Asked], Answer] = executor,
    **context: Any,
) -> dict[str, Any]:
    """Run a request in which everything that others write is invisible in part; give what its thread holds."""
    asked: list[str] = []
    left = iter(answers)

    def ask(question: str) -> str:
        asked.append(question)
        stream.write(question)
        return next(left)

    drafted = plan(
        milestone(EVIL, done_when=EVIL, tools=["pay"], pitfalls=[EVIL]), strategy=EVIL, requirements=[f"{EVIL}."]
    )
    tools = [StructuredTool.from_function(pay, name="pay", metadata={"effect": "effect"})]
    planner = heavy(drafted, end=end or synthesis(answer=f"{EVIL} {ENTITIES}"))
    saver = InMemorySaver()
    agent = create_plan_execute_agent(planner, ScriptedModel(light), tools, context=context, checkpointer=saver)
    screen = Screen(stream)
    prompts = TerminalPrompts(screen, ask) if answers else None
    given = {"messages": [("user", EVIL)]}
    run_until_done(agent, given, Options(thread="t"), screen, prompts=prompts)
    return agent.get_state({"configurable": {"thread_id": "t"}}).values


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
@pytest.mark.parametrize(
    ("answers", "context"),
    [
        ((), {}),
        ((), {"light": lambda asked: _calling(asked, "nobody")}),
        (("s", "a"), {"review": "first"}),
        (("a",), {"approve_tools": ["pay"]}),
        (("r", "because"), {"approve_tools": ["pay"], "max_replans": 0}),
    ],
)
def test_a_run_shows_nothing_invisible(
    stream: type[io.StringIO], answers: tuple[str, ...], context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = stream()
    state = run(shown, *answers, **context)
    text = RICH_WRITES.sub("", shown.getvalue())
    assert state["status"] == ("aborted" if "r" in answers or "light" in context else "completed")
    assert text.count("before") >= 5
    assert hidden_in(text) == set()
    drawn("ways in which a run reaches a terminal tried, none showed the invisible")


def test_a_person_approves_what_they_see() -> None:
    shown = io.StringIO()
    person = "\N{ZERO WIDTH NON-JOINER}".join("می")
    run(shown, "a", approve_tools=["pay"], light=lambda a: _calling(a, f"ann\u202e{person}\N{ZERO WIDTH JOINER}"))
    assert '  payee: "ann\\u202eم\\u200cی\\u200d"\n' in shown.getvalue()


def _calling(asked: Asked, payee: str) -> Answer:
    done = any(m.type == "tool" for m in asked.messages)
    return report("paid") if done else tool_call("pay", {"payee": payee})


def test_a_call_of_unknown_outcome_is_asked_about_with_all_its_arguments() -> None:
    shown, calls = io.StringIO(), []

    def pay_slowly(payee: str) -> str:
        """Pay somebody."""
        calls.append(payee)
        raise TimeoutError("no answer")

    tool = StructuredTool.from_function(pay_slowly, name="pay", metadata={"effect": "effect"})
    planner, light = (
        heavy(plan(milestone("Pay.", tools=["pay"]))),
        ScriptedModel(lambda a: _calling(a, EVIL * 5 + "end")),
    )
    agent = create_plan_execute_agent(planner, light, [tool], context={"max_replans": 0}, checkpointer=InMemorySaver())
    screen = Screen(shown)
    prompts = TerminalPrompts(screen, lambda _: "l")
    run_until_done(agent, {"messages": [("user", "Pay.")]}, Options(), screen, prompts=prompts)
    assert re.search(r"\n  pay:\n.*behindend", shown.getvalue(), re.DOTALL)
    assert hidden_in(shown.getvalue()) == set()


def test_a_question_to_a_person_shows_nothing_invisible() -> None:
    shown = io.StringIO()
    lacking = report(EVIL, "blocked", missing=f"who {EVIL} is")
    run(shown, "nobody", "nobody", light=lambda asked: lacking, ask_user=True, max_replans=0)
    assert "who before" in shown.getvalue()
    assert hidden_in(shown.getvalue()) == set()


def test_a_report_shows_nothing_invisible() -> None:
    state = run(io.StringIO())
    assert state["status"] == "completed"
    page = render_report(state, thread=EVIL)
    assert page.count("before\\u200b") > 5
    assert hidden_in(page) == set()
    assert "&#8238;" not in page
    failed = run(io.StringIO(), light=lambda asked: report(EVIL, "failed"), max_replans=0)
    assert hidden_in(render_report(failed, thread="t")) == set()


def test_errors_and_hints_show_nothing_invisible(capsys: pytest.CaptureFixture[str]) -> None:
    output.refuse(EVIL, as_json=True)
    output.refuse(ValueError(EVIL), as_json=False)
    output.warn(EVIL)
    out, err = capsys.readouterr()
    assert err.count("behind") == 3
    assert hidden_in(out + err) == set()
    assert json.loads(out)["error"]["message"] == EVIL


def test_a_plan_in_a_file_shows_nothing_invisible_and_stays_the_same() -> None:
    drafted = {"strategy": EVIL, "milestones": [{"goal": f"{EVIL}\n\n  {EVIL}", EVIL: 1}]}
    text = write_plan(drafted, EVIL)
    assert hidden_in(text) == set()
    assert yaml.safe_load(text) == drafted


@given(
    st.dictionaries(
        st.text(max_size=8), st.text(st.sampled_from(SAMPLES + "ab:#-\\\"' \n") | st.characters()), max_size=3
    )
)
def test_arguments_in_an_editor_show_nothing_invisible_and_stay_the_same(args: dict[str, str]) -> None:
    text = write_yaml(args)
    assert hidden_in(text) == set()
    assert yaml.safe_load(text) == args
    drawn("arguments written for an editor, each the same when read and without the invisible")


@given(st.text(st.sampled_from(SAMPLES) | st.characters(), max_size=40))
def test_any_text_is_shown_without_what_is_invisible(text: str) -> None:
    needed = set("\u200c\u200d\ufe0e\ufe0f")
    assert hidden_in(visible(text)) <= needed
    assert hidden_in(visible(text, lines=True)) <= needed
    assert hidden_in(one_line(text)) <= needed
    assert hidden_in(visible(text, strict=True)) == set()
    assert visible(visible(text)) == visible(text)
    drawn("texts drawn at random, shown without the invisible")


@pytest.mark.parametrize(
    "text",
    [
        "👩\u200d👩\u200d👧",
        "❤\ufe0f",
        "❤\ufe0f\u200d🔥",
        "1\ufe0f\u20e3",
        "می\u200cم",
        "क\u094d\u200dष",
        "日本",
        "é",
        "a\xa0b",
    ],
)
def test_what_a_script_or_an_emoji_needs_stays(text: str) -> None:
    assert visible(text) == text
    assert hidden_in(visible(text, strict=True)) == set()


@pytest.mark.parametrize(
    "text", ["a\u200db", "1\u200c2", "a\ufe0f", "❤\ufe0f\ufe0f", "م\u200c\u200cی", "👩\u200d", "👩\u200d\u200d👧"]
)
def test_joiners_and_selectors_that_join_and_select_nothing_are_spelled_out(text: str) -> None:
    assert "\\u" in visible(text)


LINKS = "[bank](https://evil.example/x) <https://plain.example/> [mail](mailto:a@b.example) <a@b.example>"
NO_LINKS = [
    "javascript:alert(1)",
    "data:text/html,x", "file:///etc/passwd", "ftp://x.example/", "vbscript:x", "tel:1", "/etc/passwd",
    "#top", "//evil.example/", "JaVaScRiPt:alert(1)", "java&#115;cript:alert(1)", "&#x6A;avascript:alert(1)", "blob:x",
]  # fmt: skip


def test_links_of_a_report_say_where_they_go() -> None:
    page = render_report({"status": "completed", "answer": LINKS})
    assert ">bank</a> <small>(https://evil.example/x)</small>" in page
    assert ">mail</a> <small>(mailto:a@b.example)</small>" in page
    assert page.count("<small>(") == 2
    disguised = render_report({"status": "completed", "answer": "[https://bank.example](https://evil.example)"})
    assert ">https://bank.example</a> <small>(https://evil.example)</small>" in disguised


@pytest.mark.parametrize("target", NO_LINKS)
def test_a_report_links_to_nothing_but_pages_and_mail(target: str) -> None:
    answer = f"[click]({target}) [ref][1] ![picture]({target})\n\n[1]: {target}\n"
    page = render_report({"status": "completed", "answer": answer})
    assert re.findall(r'<a [^>]*href="(?!#)', page) == []
    drawn("targets of links that are neither pages nor mail tried, none became a link")


@pytest.mark.parametrize("target", ["https://evil.example/x", "ftp://x.example/", "mailto:a@b.example"])
def test_links_on_a_terminal_say_where_they_go(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = Terminal()
    run(shown, end=synthesis(answer=f"[bank]({target})"))
    text = RICH_WRITES.sub("", shown.getvalue())
    assert f"bank ({target})" in text
    assert "\x1b]8" not in shown.getvalue()


def test_names_of_files_and_threads_show_nothing_invisible(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from plan_execute.graphs.cli.main import main

    place = str(tmp_path / "none\u202e.sqlite")
    assert main(["show", "thread\u202e\u200b", "--checkpointer", place]) == 2
    out, err = capsys.readouterr()
    assert "plan-execute: " in err
    assert hidden_in(out + err) == set()
    assert sys.stdout is not None
