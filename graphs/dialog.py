"""What a terminal asks a person: whether a plan is to run as it is, changed, or not at all."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml  # type: ignore[import-untyped]  # its types are a package of their own

from plan_execute.graphs.display import Line, Screen, clean, clip

Verdict = dict[str, Any]
"""A decision as the review takes it."""

QUESTION = "[a]pprove, [e]dit, [r]eject, [c]omment, [s]how in full: "
OBJECTION = "This will not do: "
"""What stands before the objection in the description of a plan that is asked about again."""
HELP = """\
# Change the plan, save it and close the editor: what is checked and found good runs.
# Unchanged it is approved; an empty file drops the edit. What is left out stays as it was.
# Milestones may be added, removed and reordered; a new one needs an id of its own.
# depends_on names ids, covers counts requirements from 1, tools are those of the catalogue.
"""
EDITORS = ("nano", "vi")
"""What is looked for where $VISUAL and $EDITOR name nothing."""


class Review:
    """Asks about plans until one may run; remembers an edited one that would not do, to open it again."""

    def __init__(self, screen: Screen, ask: Callable[[str], str] = input) -> None:
        """Take where to say things, and how to ask for a line."""
        self._say = screen.say
        self._ask = ask
        self._draft = ""

    def judge(self, action: Mapping[str, Any]) -> Verdict | None:
        """Ask about a plan, as the interrupt of the review describes it, until there is an answer.

        Returns:
            The decision; None where nobody answers any more.
        """
        args = action["args"]
        objection = _objection(action["description"])
        if objection and self._draft:
            if verdict := self._edit(args, objection):
                return verdict
        elif objection:
            self._say(Line(clip(f"{OBJECTION}{objection}", 2_000), style="yellow"))
        self._draft = ""
        self._say(Line("The plan waits for your review. It is to meet:", style="bold"))
        for number, text in enumerate(args["requirements"], start=1):
            self._say(Line(f"{number}. {clip(text)}", indent=2))
        try:
            while True:
                if verdict := self._answer(self._ask(QUESTION), args):
                    return verdict
        except EOFError:
            self._say(Line(""))  # what comes next does not stand behind the question
            return None

    def _answer(self, line: str, args: Mapping[str, Any]) -> Verdict | None:
        word, _, rest = line.strip().partition(" ")
        match word.lower():
            case "a" | "approve":
                return {"type": "approve"}
            case "e" | "edit":
                return self._edit(args)
            case "r" | "reject":
                return {"type": "reject", "message": rest.strip() or self._ask("Why (may be empty): ").strip()}
            case "c" | "comment":
                message = rest.strip() or self._ask("What the planner is to know: ").strip()
                return {"type": "respond", "message": message} if message else None
            case "s" | "show":
                self._say(Line(clean(_as_yaml(args), lines=True)))
            case _:
                self._say(Line("Answer with a, e, r, c or s; Ctrl-D leaves the plan waiting.", style="yellow"))
        return None

    def _edit(self, args: Mapping[str, Any], objection: str = "") -> Verdict | None:
        """Let the person change the plan until it can be read; None if it is left at that."""
        text = self._draft or _as_yaml(args)
        while True:
            before = _with_comments(text, objection)
            try:
                after = edit(before)
            except OSError as error:
                self._say(Line(clip(str(error), 500), style="yellow"))
                return None
            text = _without_comments(after)
            if objection and after == before:
                self._say(Line("Nothing was changed: the edit is dropped.", style="yellow"))
                return None
            try:
                changed = _read(text)
            except ValueError as error:
                objection = str(error)
                continue
            if not changed:
                self._say(Line("The edit is dropped.", style="yellow"))
                return None
            if changed == args:
                return {"type": "approve"}
            self._draft = text
            return {"type": "edit", "edited_action": {"name": "review_plan", "args": changed}}


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
        raise OSError("There is no editor: name one in the environment as EDITOR, or answer with a comment.")
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


def _objection(description: str) -> str:
    if not description.startswith(OBJECTION):
        return ""
    return description.removeprefix(OBJECTION).partition("\n\nPlan, revision ")[0]


def _as_yaml(args: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(dict(args), sort_keys=False, allow_unicode=True, width=100)
    return text


def _with_comments(text: str, objection: str) -> str:
    lines = [f"# {line}" for line in f"{OBJECTION}{objection}".splitlines()] if objection else []
    return "".join(f"{line}\n" for line in lines) + f"{HELP}\n{text}"


def _without_comments(text: str) -> str:
    """The text without the comments at its top."""
    lines = text.splitlines(keepends=True)
    first = next((n for n, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    return "".join(lines[first:])


def _read(text: str) -> dict[str, Any] | None:
    """Read an edited plan as plain JSON data; None if there is nothing in it.

    Raises:
        ValueError: It cannot be read; the text says where.
    """
    try:
        # Through JSON, because YAML also has dates and the like, which no plan has.
        plan = json.loads(json.dumps(yaml.safe_load(text), default=str))
    except yaml.YAMLError as error:
        raise ValueError(_problem(error, text)) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"this is no plan ({error}).") from None
    if plan is None:
        return None
    if not isinstance(plan, dict):
        raise ValueError("expected strategy:, requirements: and milestones:, each at the beginning of a line.")
    return plan


def _problem(error: yaml.YAMLError, text: str) -> str:
    problem, mark = getattr(error, "problem", None) or str(error), getattr(error, "problem_mark", None)
    lines = text.splitlines()
    where = f" at {lines[mark.line].strip()!r}" if mark and mark.line < len(lines) else ""
    return f"this is not YAML: {problem}{where}."
