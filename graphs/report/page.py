"""A run as one page of HTML that can be mailed: the request, the answer, and how the run went."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

try:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML
    from markdown_it.token import Token
    from markdown_it.utils import EnvType, OptionsDict
    from markupsafe import Markup
except ImportError as error:
    advice = "pip install '.[report]' in a clone, or pip install 'PATH/TO/WHEEL.whl[report]'"
    raise ImportError(f"The report needs more packages: {advice}.") from error

from plan_execute.agent.events import decisions
from plan_execute.agent.interrupts import EDITED
from plan_execute.agent.state import LogEntry, Milestone, RoleUsage, RunState, ToolCallRecord, add_usage
from plan_execute.agent.truncation import truncate_middle
from plan_execute.graphs.formatting import duration, money, one_line, seconds_between, visible
from plan_execute.graphs.report.layout import HEIGHT, WIDTH, Drawing, arrange

TITLE_LIMIT = 180
"""Most characters of a request in the heading; a longer one stands whole below it."""
ANSWER_LIMIT = 100_000
"""Most characters shown of an answer or a request."""
TEXT_LIMIT = 12_000
"""Most characters shown of a result, or of any other text."""
ARGUMENT_LIMIT = 2_000
"""Most characters shown of one argument of a tool call."""
DAY, WEEK = 86_400, 604_800
"""In seconds."""
TICKS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 1_800, 3_600, 7_200, DAY / 6, DAY / 2, DAY, WEEK),
)
"""Seconds between two marks of the time scale, to choose from."""

_BLANK = Milestone(
    id="", goal="", done_when="", tools=[], calls=[], yields=[], pitfalls=[], depends_on=[], covers=[], revision=0,
    status="pending", attempts=0, result="", values={}, report=None, failure=None, answers={}, tool_calls=[], usage={},
    started_at=None, finished_at=None,
)  # fmt: skip
_START: RunState = {
    "objective": "", "plan": None, "milestones": {}, "decision": None, "replans": 0, "usage": {}, "log": [],
    "status": "running", "error": None, "answer": None, "seconds": 0.0, "structured_response": None,
}  # fmt: skip


def render_report(state: Mapping[str, Any], *, thread: str | None = None) -> str:
    """Write the report of a run.

    Args:
        state: The values of the run's thread, a `RunState`: `agent.get_state(config).values`, or what `read_thread`
            returns. The run may have ended, wait, or still be running. Keys that are missing get the values of a run
            that has not begun.
        thread: The thread's id, to be named on the page.

    Returns:
        A page of HTML that needs no script, no other file and no network. Every text from users, models and tools is
        escaped; HTML and images in the answer's Markdown are shown as text. Long texts are truncated, with a note.
    """
    run = {**_START, **{key: value for key, value in state.items() if key in _START}}
    milestones = {key: {**_BLANK, "id": key, **found} for key, found in run["milestones"].items()}
    clock = Clock(_times(run["log"], milestones.values()))
    total: dict[str, RoleUsage] = {}
    for used in run["usage"].values():
        total = add_usage(total, {"total": used})
    page = _template().render(
        run=run,
        thread=thread,
        clock=clock,
        milestones=milestones,
        attempts={key: _attempts(milestone, run["log"]) for key, milestone in milestones.items()},
        revisions=list(_revisions(run["log"], milestones)),
        decisions=list(decisions(run["log"])),
        phases=list(_phases(run["log"])),
        total=total.get("total"),
        box=(WIDTH, HEIGHT),
    )
    return visible(page, lines=True)


class Clock:
    """The time of a run, counted from the first time known of it."""

    def __init__(self, times: Iterable[str]) -> None:
        """Take every time that is known, ISO 8601."""
        known = sorted(times, key=datetime.fromisoformat)
        self.start: str | None = known[0] if known else None
        self.end: str | None = known[-1] if known else None
        self.seconds = seconds_between(known[0], known[-1]) if known else 0.0

    def since(self, at: str) -> float:
        """Seconds from the start until then."""
        return seconds_between(self.start, at) if self.start else 0.0

    def place(self, at: str | None, later: float = 0.0) -> float:
        """How far along the run that was, or so many seconds later, in percent; 100 for what has no time yet."""
        if at is None:
            return 100.0
        return min(100.0 * (self.since(at) + later) / self.seconds, 100.0) if self.seconds else 0.0

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Marks of the scale, at most five after the first: the place in percent and the label."""
        if not self.seconds:
            return []
        step = next((step for step in TICKS if self.seconds / step <= 5), WEEK * ceil(self.seconds / WEEK / 5))
        return [(100 * n * step / self.seconds, _scale(n * step)) for n in range(int(self.seconds / step) + 1)]


@dataclass(frozen=True)
class Attempt:
    """One attempt at a milestone; without an end that is known, `ended` is None and `status` is `running`."""

    number: int
    began: str
    ended: str | None
    status: str
    code: str | None
    reason: str
    tool_calls: Sequence[ToolCallRecord]


class Revision(NamedTuple):
    """One revision of the plan: its entry in the log, and its picture."""

    entry: Mapping[str, Any]
    drawing: Drawing
    earlier: set[str]
    """The milestones in the picture that an earlier revision planned and this one depends on."""


class Phase(NamedTuple):
    """A time in which the run planned again, wrote the answer or waited for a person; ISO 8601."""

    name: str
    began: str
    ended: str


def _times(log: Iterable[LogEntry], milestones: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield from (entry["at"] for entry in log)
    for milestone in milestones:
        yield from filter(None, (milestone["started_at"], milestone["finished_at"]))


def _attempts(milestone: Mapping[str, Any], log: Iterable[Mapping[str, Any]]) -> list[Attempt]:
    """Every attempt at a milestone in the log; if it has none, the last attempt, from the milestone itself."""
    own = [entry for entry in log if entry.get("milestone") == milestone["id"]]
    starts = [entry for entry in own if entry["type"] == "milestone_started"]
    ends = {entry["attempt"]: entry for entry in own if entry["type"] == "milestone_finished"}
    if not starts and milestone["started_at"]:
        facts = {key: milestone[key] for key in ("status", "tool_calls")}
        starts = [{"attempt": milestone["attempts"], "at": milestone["started_at"]}]
        ends = {milestone["attempts"]: {"at": milestone["finished_at"], **facts}}
    attempts = []
    for start, following in zip(starts, [*starts[1:], None], strict=False):
        end = ends.get(start["attempt"], {"at": following["at"] if following else None})
        attempts.append(
            Attempt(
                number=start["attempt"],
                began=start["at"],
                ended=end["at"],
                status=end.get("status", "running"),
                code=end.get("code"),
                reason=end.get("reason", ""),
                tool_calls=end.get("tool_calls", ()),
            )
        )
    return attempts


def _revisions(log: Iterable[Mapping[str, Any]], milestones: Mapping[str, Mapping[str, Any]]) -> Iterator[Revision]:
    for entry in log:
        if entry["type"] not in {"plan_created", "plan_revised"}:
            continue
        added = [key for key in entry["added"] if key in milestones]
        needed = {n for key in added for n in milestones[key]["depends_on"] if n in milestones}
        shown = [key for key in milestones if key in needed.union(added)]
        drawing = arrange({key: milestones[key]["depends_on"] for key in shown})
        yield Revision({"reason": "", **entry}, drawing, needed - set(added))


def _phases(log: Sequence[LogEntry]) -> Iterator[Phase]:
    names = {
        "plan_revised": "Planning again",
        "synthesized": "Writing the answer",
        "answer": "Writing the answer",
        "plan_reviewed": "Waiting for a person",
        "user_answered": "Waiting for a person",
    }
    for before, entry in pairwise(log):
        name = names.get("plan_reviewed" if entry.get("reason") == EDITED else entry["type"])
        if name and before["at"] != entry["at"]:
            yield Phase(name, before["at"], entry["at"])


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: "" if value is None else value,
    )
    environment.filters |= {
        "answer": lambda text: truncate_middle(text, ANSWER_LIMIT),
        "argument": lambda value: truncate_middle(
            value if isinstance(value, str) else _json(value, indent=None), ARGUMENT_LIMIT
        ),
        "one_line": one_line,
        "day": lambda at: f"{datetime.fromisoformat(at):%d %B %Y, %H:%M} UTC",
        "duration": duration,
        "json": lambda value: truncate_middle(_json(value), TEXT_LIMIT),
        "markdown": _markdown,
        "number": lambda value: f"{value:,}",
        "text": lambda text: truncate_middle(text, TEXT_LIMIT),
        "usd": money,
    }
    environment.globals |= {"between": seconds_between, "TITLE_LIMIT": TITLE_LIMIT}
    return environment.get_template("report.html")


def _markdown(text: str) -> Markup:
    """Render Markdown below a heading of the second level, without HTML, and without images, which would be fetched."""
    markdown = MarkdownIt("js-default", {"breaks": True}, renderer_cls=_Renderer)
    markdown.validateLink = _is_link  # type: ignore[method-assign,assignment]  # its way to choose
    tokens = markdown.parse(text)
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
    return Markup(markdown.renderer.render(tokens, markdown.options, {}))


def _is_link(target: str) -> bool:
    return target.strip().lower().startswith(("http://", "https://", "mailto:"))


class _Renderer(RendererHTML):
    """Renders some tokens in another way; markdown-it finds these methods by their names."""

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return str(Markup("<em>[image: {}]</em>").format(tokens[idx].content or tokens[idx].attrGet("src")))

    def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        tokens[idx].attrSet("rel", "noopener noreferrer")
        return self.renderToken(tokens, idx, options, env)

    def link_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Show where a link leads, unless its text is just that."""
        start = max(place for place in range(idx) if tokens[place].type == "link_open")
        target = str(tokens[start].attrGet("href"))
        text = "".join(token.content for token in tokens[start:idx]).strip()
        shown = (
            "" if text in {target, target.removeprefix("mailto:")} else Markup(" <small>({})</small>").format(target)
        )
        return f"{self.renderToken(tokens, idx, options, env)}{shown}"

    def td_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        style = str(tokens[idx].attrs.pop("style", ""))
        tokens[idx].attrs |= {"class": style.removeprefix("text-align:")} if style else {}
        return self.renderToken(tokens, idx, options, env)

    th_open = td_open


def _json(value: Any, indent: int | None = 2) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str)


def _scale(seconds: float) -> str:
    """Write the label of a mark on the time scale."""
    units = ((DAY, "d"), (3_600, "h"), (60, "min"))
    size, unit = next((unit for unit in units if seconds >= unit[0]), (1, "s"))
    return f"{seconds / size:g} {unit}"
