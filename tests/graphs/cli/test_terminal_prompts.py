"""What a terminal asks about a plan, and what becomes of the answers."""

import io
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its types are a package of their own
from langchain_core.tools import StructuredTool, tool
from langgraph.checkpoint.memory import InMemorySaver

from plan_execute.graphs import create_plan_execute_agent
from plan_execute.graphs.cli.display import Screen
from plan_execute.graphs.cli.options import Options
from plan_execute.graphs.cli.run import run_until_done
from plan_execute.graphs.cli.terminal_prompts import TerminalPrompts
from tests.fakes import Answer, Asked, ScriptedModel, diligent, goal_of, heavy, milestone, plan, report, tool_call

TWO = plan(milestone("Find a: the first"), milestone("Compare.", depends_on=["m1"]))
Editor = Callable[..., list[str]]


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Editor:
    """An editor that carries out these lines of Python on `text`, one at each opening; gives what it was shown."""

    def use(*lines: str) -> None:
        script = tmp_path / "editor"
        script.write_text(
            f"#!{sys.executable}\n"
            "import json, re, sys\n"
            f"lines, shown = {list(lines)!r}, {str(tmp_path / 'shown')!r}\n"
            "text = open(sys.argv[1], encoding='utf-8').read()\n"
            "with open(shown, 'a+') as log:\n"
            "    log.seek(0)\n"
            "    opened = len(log.readlines())\n"
            "    log.write(json.dumps(text) + '\\n')\n"
            "exec(lines[opened])\n"
            "open(sys.argv[1], 'w', encoding='utf-8').write(text)\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setenv("EDITOR", str(script))

    def shown(*lines: str) -> list[str]:
        if lines:
            use(*lines)
        log = tmp_path / "shown"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    return shown


class Session:
    """A reviewed run of the command, with a person who gives these answers; they are gone after the last."""

    def __init__(self, *answers: str, planner: ScriptedModel | None = None, **options: object) -> None:
        self.planner, self.executor = planner or heavy(TWO), ScriptedModel(diligent)
        self.stream = io.StringIO()
        self.questions: list[str] = []
        left: Iterator[str] = iter(answers)

        def ask(question: str) -> str:
            self.questions.append(question)
            try:
                return next(left)
            except StopIteration:
                raise EOFError from None

        agent = self._agent()
        screen = Screen(self.stream)
        given = {"messages": [("user", "Find it out.")]}
        self.status = run_until_done(agent, given, Options(**options), screen, prompts=TerminalPrompts(screen, ask))

    def _agent(self) -> Any:
        return create_plan_execute_agent(
            self.planner, self.executor, [look_up], context={"review": "first"}, checkpointer=InMemorySaver()
        )

    @property
    def said(self) -> str:
        return self.stream.getvalue()

    @property
    def goals_run(self) -> list[str]:
        return list(dict.fromkeys(goal_of(asked) for asked in self.executor.asked))


@pytest.mark.parametrize("answer", ["a", "approve", " A "])
def test_approved_plan_runs(answer: str) -> None:
    session = Session(answer)
    assert session.status == 0
    assert session.goals_run == ["Find a: the first", "Compare."]
    assert session.said.index("m2 Compare. (after m1)") < session.said.index("The plan waits for your review.")
    assert "  1. Answer it.\n" in session.said


@pytest.mark.parametrize("answer", ["", "yes", "?"])
def test_any_other_answer_is_asked_again(answer: str) -> None:
    session = Session(answer, "a")
    assert (session.status, len(session.questions)) == (0, 2)
    assert "Answer with a, e, r, c or s" in session.said


def test_plan_rejected_without_a_reason_ends_the_run() -> None:
    session = Session("r", "")
    assert (session.status, session.goals_run) == (1, [])
    assert "The plan was rejected." in session.said
    assert "Aborted (rejected)" in session.said


@pytest.mark.parametrize("answers", [("r", "Too dear."), ("reject Too dear.",)])
def test_plan_rejected_with_a_reason_is_made_anew(answers: tuple[str, ...]) -> None:
    session = Session(*answers, "a", planner=heavy(TWO, plan(milestone("Find b."))))
    assert (session.status, session.goals_run) == (0, ["Find b."])
    assert "The plan was rejected: Too dear." in session.planner.asked[1].text


@pytest.mark.parametrize("answers", [("c", "Leave a out."), ("c", "", "c Leave a out.")])
def test_comment_goes_to_the_planner_and_its_next_plan_is_asked_about(answers: tuple[str, ...]) -> None:
    session = Session(*answers, "a", planner=heavy(TWO, plan(milestone("Find b."))))
    assert (session.status, session.goals_run) == (0, ["Find b."])
    assert "Leave a out." in session.planner.asked[1].text
    assert session.said.count("The plan waits for your review.") == 2


def test_whole_plan_is_shown_on_request() -> None:
    session = Session("s", "a")
    assert "done_when: it is known" in session.said


def test_nobody_who_answers_leaves_the_plan_waiting(capsys: pytest.CaptureFixture[str]) -> None:
    session = Session(thread="my sales", checkpointer="a.sqlite")
    assert (session.status, session.goals_run) == (1, [])
    assert capsys.readouterr().err == (
        "plan-execute: The plan waits for review: plan-execute resume 'my sales' --checkpointer a.sqlite asks you.\n"
    )


def test_edited_plan_is_what_runs(editor: Editor) -> None:
    editor("text = text.replace('the first', 'the second')")
    session = Session("e")
    assert session.goals_run == ["Find a: the second", "Compare."]
    (shown,) = editor()
    assert shown.startswith("# Change the plan")
    assert [m["goal"] for m in yaml.safe_load(shown)["milestones"]] == ["Find a: the first", "Compare."]


def test_unchanged_file_is_an_approval(editor: Editor) -> None:
    editor("")
    session = Session("e")
    assert (session.status, session.goals_run) == (0, ["Find a: the first", "Compare."])
    assert "revision 2" not in session.said


@pytest.mark.parametrize("left", ["", "# nothing\\n\\n"])
def test_empty_file_drops_the_edit(left: str, editor: Editor) -> None:
    editor(f"text = '{left}'")
    session = Session("e", "r", "")
    assert "The edit is dropped." in session.said
    assert len(session.questions) == 3
    assert "Aborted (rejected)" in session.said


def test_what_cannot_be_read_is_opened_again_with_the_reason(editor: Editor) -> None:
    editor(
        "text = text.replace('strategy: Step', 'strategy: [Step')",
        "text = text.replace('strategy: [Step by step.', 'strategy: 2025-01-01')",
    )
    session = Session("e")
    first, second = editor()
    assert first.startswith("# Change the plan")
    assert second.startswith("# Invalid answer: this is not YAML: ")
    assert second.count("# Correct it") == 1
    assert "strategy: [Step" in second
    assert session.status == 0
    assert "Plan, revision 2: 2025-01-01" in session.said


def test_plan_that_will_not_do_is_opened_again_as_it_was_edited(editor: Editor) -> None:
    editor(
        "text = text.replace('the first', 'the second').replace('- look_up', '- fly', 1)",
        "text = text.replace('- fly', '- look_up')",
    )
    session = Session("e")
    assert "unknown tool 'fly'" in editor()[1].splitlines()[0]
    assert "- fly" in editor()[1]
    assert session.goals_run == ["Find a: the second", "Compare."]
    assert len(session.questions) == 1


def test_plan_that_will_not_do_and_is_left_so_is_asked_about_again(editor: Editor) -> None:
    editor("text = text.replace('- look_up', '- fly')", "", "")
    session = Session("e", "e")
    assert "Nothing was changed: the edit is dropped." in session.said
    assert "- fly" not in editor()[2]
    assert session.goals_run == ["Find a: the first", "Compare."]


@pytest.mark.parametrize("left", ["- a\\n- b", "just words", "? [a, b]\\n: c", "&a [*a]", "\\x00"])
def test_file_that_is_no_plan_is_opened_again(left: str, editor: Editor) -> None:
    editor(f"text = '{left}'", "text = ''")
    session = Session("e", "a")
    assert editor()[1].startswith("# Invalid answer: ")
    assert session.status == 0


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/nowhere/ed", "The editor does not work (/nowhere/ed: Editing failed: "),
        ("false", "The editor does not work (false: Editing failed): name another in the environment as EDITOR."),
        ("'", "The editor does not work (No closing quotation)"),
    ],
)
def test_editor_that_does_not_work_leads_back_to_the_question(
    command: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", command)
    session = Session("e", "a")
    assert said in session.said
    assert session.status == 0


def test_visual_wins_over_editor(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    editor("text = text.replace('the first', 'the second')")
    monkeypatch.setenv("VISUAL", os.environ["EDITOR"])
    monkeypatch.setenv("EDITOR", "false")
    assert Session("e").goals_run[0] == "Find a: the second"


def test_plan_cannot_drive_the_terminal() -> None:
    wild = plan(milestone("Find \x1b[2Ja"), requirements=["See \x1b]0;x\x07 it."], strategy="By \x1b[31m red\u202e.")
    session = Session("s", "a", planner=heavy(wild))
    assert not set(session.said) & set("\x1b\x07\u202e")


def test_waiting_run_is_told_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    agent: Any = create_plan_execute_agent(
        heavy(TWO), ScriptedModel(diligent), [look_up], context={"review": "first"}, checkpointer=InMemorySaver()
    )
    given = {"messages": [("user", "Find it out.")]}
    assert run_until_done(agent, given, Options(json=True), Screen(sys.stderr)) == 1
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert document["status"] == "running"
    (waiting,) = document["waiting"]
    (action,) = waiting["action_requests"]
    assert (action["name"], action["args"]["requirements"]) == ("review_plan", ["Answer it."])
    assert "it is not stored; --thread NAME stores a run." in told.err


@tool
def pay(payee: str, dollars: int) -> str:
    """Pay somebody."""
    return f"paid {dollars} to {payee}"


class Waiting(Session):
    """A run that waits for other things than a review."""

    def __init__(self, light: Callable[[Asked], Answer], *answers: str, **settings: Any) -> None:
        self._light, self._settings = light, settings
        super().__init__(*answers, planner=heavy(plan(milestone("Pay a.", tools=["pay"]))))

    def _agent(self) -> Any:
        return create_plan_execute_agent(
            self.planner, ScriptedModel(self._light), [pay], context=self._settings, checkpointer=InMemorySaver()
        )


def paying(asked: Asked) -> Answer:
    call = tool_call("pay", {"payee": "a", "dollars": 10})
    return report(asked.messages[-1].text) if asked.messages[-1].type == "tool" else call


@pytest.mark.parametrize(
    ("answers", "came"),
    [
        (("a",), "paid 10 to a"),
        (("x", "approve"), "paid 10 to a"),
        (("a lower sum, please", "t nothing was paid"), "nothing was paid"),
        (("t paid in cash",), "paid in cash"),
        (("t", "", "t", "paid in cash"), "paid in cash"),
    ],
)
def test_call_is_shown_with_its_arguments_and_approved(answers: tuple[str, ...], came: str) -> None:
    session = Waiting(paying, *answers, approve_tools=["pay"])
    assert session.status == 0
    assert "m1 (Pay a.) is about to call 'pay'." in session.said
    assert "payee: a" in session.said
    assert "dollars: 10" in session.said
    assert came in session.said


def test_call_is_edited_in_the_editor_until_it_will_do(editor: Editor) -> None:
    editor("text = text.replace('dollars: 10', 'dollars: many')", "text = text.replace('dollars: many', 'dollars: 5')")
    session = Waiting(paying, "e", approve_tools=["pay"])
    first, second = editor()
    assert first.startswith("# Change the arguments")
    assert second.startswith("# Invalid answer: dollars: Input should be a valid integer")
    assert "dollars: many" in second
    assert "paid 5 to a" in session.said


def test_number_that_no_checkpoint_holds_can_be_given(editor: Editor) -> None:
    editor(f"text = text.replace('10', '{2**70}')")
    session = Waiting(paying, "e", approve_tools=["pay"])
    assert f"paid {2**70} to a" in session.said


def test_edit_of_one_call_is_not_opened_again_for_another(editor: Editor) -> None:
    class Both(Waiting):
        def __init__(self, *answers: str, **settings: Any) -> None:
            super().__init__(self.pays, *answers, **settings)

        def pays(self, asked: Asked) -> Answer:
            payee = goal_of(asked)[4]
            call = tool_call("pay", {"payee": payee, "dollars": 10})
            return report(asked.messages[-1].text) if asked.messages[-1].type == "tool" else call

        def _agent(self) -> Any:
            self.planner = heavy(plan(milestone("Pay a.", tools=["pay"]), milestone("Pay b.", tools=["pay"])))
            return super()._agent()

    editor("text = text.replace('10', 'many')", "text = text.replace('10', 'some')", "text = text.replace('10', '5')")
    session = Both("e", "e", "e", "a", approve_tools=["pay"], max_parallel=2)
    assert ["payee: b" in text for text in editor()] == [False, True, False]
    assert ("paid 5 to a" in session.said, session.status) == (True, 0)


def test_refused_call_tells_its_reason() -> None:
    session = Waiting(
        lambda a: report("", "failed") if a.messages[-1].type == "tool" else paying(a),
        "r",
        "Too much.",
        approve_tools=["pay"],
        max_replans=0,
    )
    assert session.status == 1
    assert "rejected it: Too much." in session.said


@pytest.mark.parametrize(("answer", "status"), [("He is a plumber.", 0), ("", 1)])
def test_missing_information_is_asked_for(answer: str, status: int) -> None:
    def lacking(asked: Asked) -> Answer:
        return paying(asked) if "He is a plumber." in asked.text else report("", "blocked", missing="who a is")

    session = Waiting(lacking, answer, ask_user=True, max_replans=0)
    assert session.status == status
    assert "Pay a. needs to know:\n  who a is\n" in session.said
    assert session.questions == ["Your answer (empty: you do not know): "]


@pytest.mark.parametrize(("answers", "paid"), [(("a",), 2), (("d", "they have it"), 1), (("l", ""), 1)])
def test_call_of_unknown_outcome_is_settled(answers: tuple[str, ...], paid: int) -> None:
    calls: list[int] = []

    def pay_slowly(payee: str, dollars: int) -> str:
        """Pay somebody."""
        calls.append(dollars)
        if len(calls) == 1:
            raise TimeoutError("no answer")
        return "paid"

    tool = StructuredTool.from_function(pay_slowly, name="pay", metadata={"effect": "effect"})

    class Slow(Waiting):
        def _agent(self) -> Any:
            return create_plan_execute_agent(
                self.planner, ScriptedModel(paying), [tool], context={"max_replans": 0}, checkpointer=InMemorySaver()
            )

    session = Slow(paying, *answers)
    assert "called 'pay', which changes the world, and got no result" in session.said
    assert "  pay:\n    payee: a\n    dollars: 10\n" in session.said
    assert len(calls) == paid
    assert session.status == (1 if answers[0] == "l" else 0)
