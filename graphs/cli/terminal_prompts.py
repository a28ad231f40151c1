"""What a terminal asks a person while a run waits for their decision."""

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import TextIOWrapper
from typing import Any

from plan_execute.agent.interrupts import ASK_USER, INVALID_ANSWER, REPEAT_CALL, REVIEW_PLAN
from plan_execute.graphs.cli.display import Screen
from plan_execute.graphs.cli.progress import Line
from plan_execute.graphs.cli.yaml_files import add_comments, edit, strip_comments
from plan_execute.graphs.formatting import one_line
from plan_execute.graphs.yaml_text import read_yaml, write_yaml

Decision = dict[str, Any]
"""A person's decision, as a resume takes it: approve, edit, reject or respond."""
Answers = Mapping[str, Callable[[str], Decision | None]]
"""What a person may answer, by its word, and the decision it makes of what they wrote behind it; None: ask again."""

PLAN_HELP = """\
Change the plan, save it and close the editor: it is checked, and runs if it is valid.
Unchanged it is approved; an empty file drops the edit. Fields you leave out stay as they were.
Milestones may be added, removed and reordered; a new one needs an id of its own.
depends_on names ids, covers counts requirements from 1, tools are those of the catalogue.
"""
CALL_HELP = """\
Change the arguments, save them and close the editor: the call is made with them.
Unchanged it is approved; an empty file drops the edit.
"""
UNCHANGED_HELP = """\
Correct it, save it and close the editor. Unchanged, or empty, the edit is dropped.
"""


class TerminalPrompts:
    """Asks until a decision can be used; remembers an edit that was invalid, to open it again."""

    def __init__(self, screen: Screen, ask: Callable[[str], str] | None = None) -> None:
        """Take where to print, and how to ask for a line."""
        self._say = screen.say
        self._ask = ask or ask_line
        self._draft = ""
        self._draft_of: Mapping[str, Any] = {}

    def decide(self, action: Mapping[str, Any]) -> Decision | None:
        """Ask for a decision on an action of the run's interrupt.

        Args:
            action: One of the interrupt's `action_requests`: `name`, `args`, `description`.

        Returns:
            The decision; None if nobody answers (end of input).
        """
        objection, description = _split_objection(action["description"])
        if action["args"] != self._draft_of:  # of several actions that wait, another was edited last
            self._draft_of, self._draft = action["args"], ""
        try:
            if objection and self._draft:
                if decision := self._edit(action, objection):
                    return decision
            elif objection:
                self._say(Line(one_line(f"{INVALID_ANSWER}{objection}", 2_000), style="yellow"))
            self._draft = ""
            match action["name"]:
                case name if name == REVIEW_PLAN:
                    return self._review_plan(action)
                case name if name == ASK_USER:
                    return self._ask_user(action)
                case name if name == REPEAT_CALL:
                    return self._repeat_call(action, description)
            return self._approve_call(action, description)
        except EOFError:
            self._say(Line(""))  # what comes next does not stand behind the question
            return None

    def _review_plan(self, action: Mapping[str, Any]) -> Decision:
        self._say(Line("The plan waits for your review. Its requirements:", style="bold"))
        for number, text in enumerate(action["args"]["requirements"], start=1):
            self._say(Line(f"{number}. {one_line(text)}", indent=2))
        return self._choose(
            "[a]pprove, [e]dit, [r]eject, [c]omment, [s]how in full: ",
            {
                "approve": _approve,
                "edit": lambda _: self._edit(action),
                "reject": lambda why: self._reject(why, "Why (for another plan; empty ends the run): "),
                "comment": lambda text: self._respond(text, "Your comment for the planner: "),
                "show": lambda _: self._say(Line(write_yaml(action["args"]))),
            },
        )

    def _approve_call(self, action: Mapping[str, Any], description: str) -> Decision:
        self._say(Line(one_line(description, 500), style="bold"))
        self._show(action["args"])
        return self._choose(
            "[a]pprove, [e]dit, [r]eject, [t]ell the result yourself: ",
            {
                "approve": _approve,
                "edit": lambda _: self._edit(action),
                "reject": self._reject,
                "tell": lambda text: self._respond(text, f"The result of {one_line(action['name'])}: "),
            },
        )

    def _repeat_call(self, action: Mapping[str, Any], description: str) -> Decision:
        self._say(Line(one_line(description.rpartition(" Approve ")[0], 500), style="bold"))
        self._show({action["args"]["tool"]: action["args"]["args"]})
        return self._choose(
            "[a]gain, it was not done; [d]one, tell the result; [l]eave it, outcome unknown: ",
            {
                "again": _approve,
                "done": lambda text: self._respond(text, "The result: "),
                "leave": self._reject,
            },
        )

    def _ask_user(self, action: Mapping[str, Any]) -> Decision:
        args = action["args"]
        self._say(Line(f"{one_line(args['milestone'])} needs to know:", style="bold"))
        self._say(Line(one_line(args["question"], 2_000), indent=2))
        answer = self._ask("Your answer (empty: you do not know): ").strip()
        return {"type": "respond", "message": answer} if answer else {"type": "reject", "message": ""}

    def _show(self, args: Mapping[str, Any]) -> None:
        for line in write_yaml(args).splitlines():
            self._say(Line(line, indent=2))

    def _choose(self, question: str, answers: Answers) -> Decision:
        letters = [word[0] for word in answers]
        while True:
            word, _, rest = self._ask(question).strip().partition(" ")
            chosen = next((answers[name] for name in answers if word.lower() in {name, name[0]}), None)
            if chosen is None or (chosen is _approve and rest):  # "a lower sum, please" approves of nothing
                known = f"{', '.join(letters[:-1])} or {letters[-1]}"
                self._say(Line(f"Answer with {known}; Ctrl-D leaves it waiting.", style="yellow"))
            elif decision := chosen(rest.strip()):
                return decision

    def _reject(self, reason: str, question: str = "Why (may be empty): ") -> Decision:
        return {"type": "reject", "message": reason or self._ask(question).strip()}

    def _respond(self, text: str, question: str) -> Decision | None:
        message = text or self._ask(question).strip()
        return {"type": "respond", "message": message} if message else None

    def _edit(self, action: Mapping[str, Any], objection: str = "") -> Decision | None:
        """Let the person change an action's arguments until they can be read; None if they drop the edit."""
        args, manual = action["args"], PLAN_HELP if action["name"] == REVIEW_PLAN else CALL_HELP
        text = self._draft or write_yaml(args)
        while True:
            comments = [f"{INVALID_ANSWER}{objection}", UNCHANGED_HELP] if objection else [manual]
            before = add_comments(text, *comments)
            try:
                after = edit(before)
            except OSError as error:
                self._say(Line(one_line(str(error), 500), style="yellow"))
                return None
            text = strip_comments(after)
            if objection and after == before:
                self._say(Line("Nothing was changed: the edit is dropped.", style="yellow"))
                return None
            try:
                changed = read_yaml(text, args)
            except ValueError as error:
                objection = str(error)
                continue
            if not changed:
                self._say(Line("The edit is dropped.", style="yellow"))
                return None
            if changed == args:
                return _approve("")
            self._draft = text
            return {"type": "edit", "edited_action": {"name": action["name"], "args": changed}}


def ask_line(question: str) -> str:
    """Ask for a line on the terminal; what was typed before the question is not its answer."""
    with suppress(ImportError, OSError, ValueError):
        import termios  # not everywhere

        termios.tcflush(sys.stdin, termios.TCIFLUSH)
    return input(question)


def can_ask(screen: Screen) -> bool:
    """Whether there is a person to ask: one who sees the question and can type an answer."""
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    return sys.stdin is not None and sys.stdin.isatty() and screen.stream.isatty()


def _approve(_: str) -> Decision:
    return {"type": "approve"}


def _split_objection(description: str) -> tuple[str, str]:
    """Split a description into why the last answer was invalid, empty if there was none, and what it is about."""
    if not description.startswith(INVALID_ANSWER):
        return "", description
    objection, _, rest = description.removeprefix(INVALID_ANSWER).partition("\n\n")
    return objection, rest
