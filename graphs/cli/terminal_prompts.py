"""What a terminal asks a person while a run waits: about a plan, a call, or what only he knows."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml  # type: ignore[import-untyped]  # its types are a package of their own

from plan_execute.agent.interrupts import ASK_USER, INVALID_ANSWER, REPEAT_CALL, REVIEW_PLAN
from plan_execute.agent.truncation import json_safe
from plan_execute.graphs.cli.display import Line, Screen, word_call
from plan_execute.graphs.formatting import one_line, visible

Verdict = dict[str, Any]
"""A decision as the run takes it."""
Answers = Mapping[str, Callable[[str], Verdict | None]]
"""What may be answered, by its word, and what it comes to, given what was written behind the word; None: ask again."""

PLAN_HELP = """\
# Change the plan, save it and close the editor: what is checked and found good runs.
# Unchanged it is approved; an empty file drops the edit. What is left out stays as it was.
# Milestones may be added, removed and reordered; a new one needs an id of its own.
# depends_on names ids, covers counts requirements from 1, tools are those of the catalogue.
"""
CALL_HELP = """\
# Change the arguments, save them and close the editor: the call is made with them.
# Unchanged it is approved; an empty file drops the edit.
"""
UNCHANGED_HELP = """\
# Mend it, save it and close the editor. Unchanged, or empty, the edit is dropped.
"""
EDITORS = ("nano", "vi")
"""What is looked for where $VISUAL and $EDITOR name nothing."""


class TerminalPrompts:
    """Asks until there is an answer the run can go on with; remembers an edit that would not do, to open it again."""

    def __init__(self, screen: Screen, ask: Callable[[str], str] | None = None) -> None:
        """Take where to say things, and how to ask for a line."""
        self._say = screen.say
        self._ask = ask or ask_line
        self._draft = ""
        self._judged: Mapping[str, Any] = {}

    def judge(self, action: Mapping[str, Any]) -> Verdict | None:
        """Ask about an action, as the run's interrupt describes it, until there is an answer.

        Returns:
            The decision; None where nobody answers any more.
        """
        objection, description = _parted(action["description"])
        if action["args"] != self._judged:  # of several that wait, another was edited last
            self._judged, self._draft = action["args"], ""
        try:
            if objection and self._draft:
                helps = PLAN_HELP if action["name"] == REVIEW_PLAN else CALL_HELP
                if verdict := self._edit(action, helps, objection):
                    return verdict
            elif objection:
                self._say(Line(one_line(f"{INVALID_ANSWER}{objection}", 2_000), style="yellow"))
            self._draft = ""
            match action["name"]:
                case name if name == REVIEW_PLAN:
                    return self._about_plan(action)
                case name if name == ASK_USER:
                    return self._about_missing(action)
                case name if name == REPEAT_CALL:
                    return self._about_outcome(action, description)
            return self._about_call(action, description)
        except EOFError:
            self._say(Line(""))  # what comes next does not stand behind the question
            return None

    def _about_plan(self, action: Mapping[str, Any]) -> Verdict:
        self._say(Line("The plan waits for your review. It is to meet:", style="bold"))
        for number, text in enumerate(action["args"]["requirements"], start=1):
            self._say(Line(f"{number}. {one_line(text)}", indent=2))
        return self._choose(
            "[a]pprove, [e]dit, [r]eject, [c]omment, [s]how in full: ",
            {
                "approve": _approve,
                "edit": lambda _: self._edit(action, PLAN_HELP),
                "reject": self._reject,
                "comment": lambda said: self._respond(said, "What the planner is to know: "),
                "show": lambda _: self._say(Line(visible(_as_yaml(action["args"]), lines=True))),
            },
        )

    def _about_call(self, action: Mapping[str, Any], description: str) -> Verdict:
        self._say(Line(one_line(description, 500), style="bold"))
        for line in visible(_as_yaml(action["args"]), lines=True).splitlines():
            self._say(Line(line, indent=2))
        return self._choose(
            "[a]pprove, [e]dit, [r]eject, [t]ell what it answers instead: ",
            {
                "approve": _approve,
                "edit": lambda _: self._edit(action, CALL_HELP),
                "reject": self._reject,
                "tell": lambda said: self._respond(said, f"What {one_line(action['name'])} answers: "),
            },
        )

    def _about_outcome(self, action: Mapping[str, Any], description: str) -> Verdict:
        self._say(Line(one_line(description.rpartition(" Approve ")[0], 500), style="bold"))
        self._say(Line(word_call(action["args"]["tool"], action["args"]["args"]), indent=2))
        return self._choose(
            "[a]gain, it was not done; [d]one, say what came of it; [l]eave it at that: ",
            {
                "again": _approve,
                "done": lambda said: self._respond(said, "What came of it: "),
                "leave": self._reject,
            },
        )

    def _about_missing(self, action: Mapping[str, Any]) -> Verdict:
        args = action["args"]
        self._say(Line(f"{one_line(args['milestone'])} needs to know:", style="bold"))
        self._say(Line(one_line(args["question"], 2_000), indent=2))
        answer = self._ask("Your answer (empty: you do not know): ").strip()
        return {"type": "respond", "message": answer} if answer else {"type": "reject", "message": ""}

    def _choose(self, question: str, answers: Answers) -> Verdict:
        letters = [word[0] for word in answers]
        while True:
            word, _, rest = self._ask(question).strip().partition(" ")
            chosen = next((answers[name] for name in answers if word.lower() in {name, name[0]}), None)
            if chosen is None or (chosen is _approve and rest):  # "a lower sum, please" approves of nothing
                known = f"{', '.join(letters[:-1])} or {letters[-1]}"
                self._say(Line(f"Answer with {known}; Ctrl-D leaves it waiting.", style="yellow"))
            elif verdict := chosen(rest.strip()):
                return verdict

    def _reject(self, said: str) -> Verdict:
        return {"type": "reject", "message": said or self._ask("Why (may be empty): ").strip()}

    def _respond(self, said: str, question: str) -> Verdict | None:
        message = said or self._ask(question).strip()
        return {"type": "respond", "message": message} if message else None

    def _edit(self, action: Mapping[str, Any], helps: str, objection: str = "") -> Verdict | None:
        """Let the person change an action's arguments until they can be read; None if it is left at that."""
        args = action["args"]
        text = self._draft or _as_yaml(args)
        while True:
            before = _with_comments(text, UNCHANGED_HELP if objection else helps, objection)
            try:
                after = edit(before)
            except OSError as error:
                self._say(Line(one_line(str(error), 500), style="yellow"))
                return None
            text = _without_comments(after)
            if objection and after == before:
                self._say(Line("Nothing was changed: the edit is dropped.", style="yellow"))
                return None
            try:
                changed = _read(text, args)
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
    """Ask for a line on the terminal; what was typed before the question is no answer to it."""
    with suppress(ImportError, OSError, ValueError):
        import termios  # not everywhere

        termios.tcflush(sys.stdin, termios.TCIFLUSH)
    return input(question)


def can_ask(screen: Screen) -> bool:
    """Whether there is a person to ask: one who sees the question and can type an answer."""
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    return sys.stdin is not None and sys.stdin.isatty() and screen.stream.isatty()


def edit(text: str) -> str:
    """Open text in the person's editor and give what was saved.

    Raises:
        OSError: There is no editor, or it failed; one sentence says it.
    """
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or next(filter(shutil.which, EDITORS), "")
    if not command.strip():
        raise OSError("There is no editor: name one in the environment as EDITOR, or answer in another way.")
    with TemporaryDirectory() as folder, _interrupts_left_to_editor():
        file = Path(folder) / "plan.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            status = subprocess.run([*shlex.split(command), str(file)], check=False).returncode
        except (OSError, ValueError):
            raise OSError(f"The editor {command!r} could not be started: name another as EDITOR.") from None
        if status:
            raise OSError(f"The editor {command!r} ended with status {status}: nothing was changed.")
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


@contextmanager
def _interrupts_left_to_editor() -> Iterator[None]:
    """Let Ctrl-C mean to the editor what it means there, instead of ending the run below it."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _approve(_: str) -> Verdict:
    return {"type": "approve"}


def _parted(description: str) -> tuple[str, str]:
    """The objection to the last answer, if there was one, and what is asked."""
    if not description.startswith(INVALID_ANSWER):
        return "", description
    objection, _, rest = description.removeprefix(INVALID_ANSWER).partition("\n\n")
    return objection, rest


def _as_yaml(args: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(dict(args), sort_keys=False, allow_unicode=True, width=100)
    return text


def _with_comments(text: str, helps: str, objection: str) -> str:
    lines = [f"# {line}" for line in f"{INVALID_ANSWER}{objection}".splitlines()] if objection else []
    return "".join(f"{line}\n" for line in lines) + f"{helps}\n{text}"


def _without_comments(text: str) -> str:
    """The text without the comments at its top."""
    lines = text.splitlines(keepends=True)
    first = next((n for n, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    return "".join(lines[first:])


def _read(text: str, before: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read edited arguments as plain JSON data; None if there is nothing in it.

    Raises:
        ValueError: They cannot be read; the text says where.
    """
    try:
        # Through JSON, because YAML also has dates and the like, which no arguments have.
        args = json_safe(json.loads(json.dumps(yaml.safe_load(text), default=str)))
    except yaml.YAMLError as error:
        raise ValueError(_problem(error, text)) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"this cannot be read ({error}).") from None
    if args is None:
        return None
    if not isinstance(args, dict):
        raise ValueError(f"expected {', '.join(f'{name}:' for name in before)} each at the beginning of a line.")
    return args


def _problem(error: yaml.YAMLError, text: str) -> str:
    problem, mark = getattr(error, "problem", None) or str(error), getattr(error, "problem_mark", None)
    lines = text.splitlines()
    where = f" at {lines[mark.line].strip()!r}" if mark and mark.line < len(lines) else ""
    return f"this is not YAML: {problem}{where}."
