"""The report of a run: what stands on the page, that all of it is harmless, and that it asks nothing of a network."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from plan_execute.agent.state import PlanExecuteInput
from plan_execute.graphs import create_plan_execute_agent
from plan_execute.graphs.report.page import render_report
from tests.fakes import Answer, Asked, ScriptedModel, diligent, goal_of, heavy, milestone, plan, report, synthesis

THREAD: RunnableConfig = {"configurable": {"thread_id": "t-1"}}
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VOID = {"meta", "br", "hr"}


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


class Page(HTMLParser):
    """A page taken apart; complains of tags that do not close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, name: str) -> list[str]:
        """Every value of an attribute."""
        return [attrs[name] or "" for _, attrs in self.tags if name in attrs]

    def section(self, name: str) -> str:
        """The source of one section."""
        found = re.search(rf'<section id="{name}">(.*?)</section>', self.html, re.DOTALL)
        assert found, f"no section {name!r}"
        return found[1]


def state_of(
    planner: ScriptedModel,
    executor: ScriptedModel | None = None,
    asked: str = "What do a and b have in common?",
    stop_after: int | None = None,
    **context: Any,
) -> dict[str, Any]:
    """What a thread holds after a run, or after as many steps of one."""
    agent = create_plan_execute_agent(
        planner, executor or ScriptedModel(diligent), [look_up], context=context, checkpointer=InMemorySaver()
    )
    given: PlanExecuteInput = {"messages": [{"role": "user", "content": asked}]}
    for step, _ in enumerate(agent.stream(given, THREAD), start=1):
        if step == stop_after:
            break
    return agent.get_state(THREAD).values


def failing(*goals: str) -> ScriptedModel:
    return ScriptedModel(lambda asked: report("in vain", "failed") if goal_of(asked) in goals else diligent(asked))


def flaky() -> ScriptedModel:
    """An executor whose first call finds nobody."""
    calls: list[str] = []

    def answer(asked: Asked) -> Answer:
        calls.append("call")
        return TimeoutError("slow") if len(calls) == 1 else diligent(asked)

    return ScriptedModel(answer)


def replanned() -> dict[str, Any]:
    first = plan(milestone("a"), milestone("b", depends_on=["m1"]), milestone("c", depends_on=["m2"]))
    second = plan(milestone("another b", depends_on=["done:m1"]), requirements=[], strategy="A way around.")
    return state_of(heavy(first, second), failing("b"))


RUNS: dict[str, Callable[[], dict[str, Any]]] = {
    "completed": lambda: state_of(heavy(plan(milestone("a"), milestone("b", depends_on=["m1"])))),
    "answered at once": lambda: state_of(heavy({"answer": "Hello."})),
    "retried": lambda: state_of(heavy(plan(milestone("a"))), flaky()),
    "replanned": replanned,
    "aborted": lambda: state_of(heavy(plan(milestone("a"), milestone("b"))), failing("b"), max_replans=0),
    "aborted without a plan": lambda: state_of(heavy(ConnectionError("down"))),
    "partial": lambda: state_of(heavy(plan(milestone("a")), end=synthesis(met=[False])), max_replans=0),
    "parallel": lambda: state_of(heavy(plan(*[milestone(f"part {n}") for n in range(4)])), max_parallel=4),
    "unfinished": lambda: state_of(heavy(plan(milestone("a"), milestone("b"))), stop_after=4, max_parallel=1),
    "not begun": dict,
}


@cache
def state_named(name: str) -> dict[str, Any]:
    return RUNS[name]()


def page_of(state: dict[str, Any]) -> Page:
    return Page(render_report(state, thread="t-1"))


@pytest.mark.parametrize("name", RUNS)
def test_every_run_gives_a_page_that_needs_nothing_else(name: str) -> None:
    page = page_of(state_named(name))
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert not {key for _, attrs in page.tags for key in attrs if key.startswith("on") or key in {"src", "style"}}
    assert "url(" not in page.html
    assert "@import" not in page.html
    assert any("default-src 'none'" in content for content in page.all("content"))
    targets = page.all("id")
    assert len(targets) == len(set(targets))
    assert {href.removeprefix("#") for href in page.all("href")} <= set(targets)


@pytest.mark.parametrize("name", RUNS)
def test_every_decision_stands_with_its_rule_and_reason(name: str) -> None:
    state = state_named(name)
    decisions = [entry for entry in state.get("log", []) if entry["type"] == "decision"]
    if not decisions:
        assert 'id="decisions"' not in page_of(state).html
        return
    section = page_of(state).section("decisions")
    rows = re.findall(r"<tr>(.*?)</tr>", section, re.DOTALL)[1:]
    assert len(rows) == len(decisions)
    for row, entry in zip(rows, decisions, strict=True):
        assert f'datetime="{entry["at"]}"' in row
        assert f">{entry['action']}<" in row
        assert f"<code>{entry['rule']}</code>" in row
        assert entry["reason"] in Page(row).text


def test_completed_run_shows_answer_requirements_and_their_evidence() -> None:
    page = page_of(state_named("completed"))
    assert "What do a and b have in common?" in page.text
    assert "Completed" in page.text
    assert "The answer." in page.section("answer")
    assert "thread t-1" in page.text
    requirements = page.section("requirements")
    assert "met" in Page(requirements).text
    assert 'href="#m1"' in requirements
    milestones = Page(page.section("milestones"))
    for words in ("it is known", "look_up", "subject x", "result of: a", "ok"):
        assert words in milestones.text
    assert page.html.count('class="edge"') == 1


def test_replanned_run_shows_each_revision_with_its_trigger_and_difference() -> None:
    page = Page(page_of(state_named("replanned")).section("plan"))
    second, first = re.split("Revision 1", page.text)
    for words in ("Revision 2", "in vain", "A way around.", "1 added, 1 dropped", "m4 another b", "m3 c"):
        assert words in second
    assert "3 added" in first
    classes = page.all("class")
    assert "node is-completed earlier" in classes
    assert "node is-failed" in classes
    assert "node is-skipped" in classes


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("aborted", "Aborted", "max_replans"),
        ("aborted without a plan", "Aborted", "planner_unavailable"),
        ("partial", "Partly completed", "unmet_requirements"),
    ],
)
def test_run_that_fell_short_says_why_at_its_head(name: str, status: str, code: str) -> None:
    state = state_named(name)
    head = page_of(state).text.split("Milestones done")[0]
    assert f"{status} {code}" in head
    assert " ".join(state["error"]["message"].split()) in head


def test_unfinished_run_says_so_and_draws_open_attempts() -> None:
    state = state_named("unfinished")
    assert [m["status"] for m in state["milestones"].values()] == ["completed", "running"]
    page = page_of(state)
    assert "This run has not ended" in page.text
    assert "There is no answer yet." in page.text
    assert "bar is-running" in page.all("class")


def test_retried_milestone_shows_both_attempts() -> None:
    page = Page(page_of(state_named("retried")).section("milestones"))
    assert [kind for kind in page.all("class") if kind.startswith("bar is-") and "phase" not in kind] == [
        "bar is-failed",
        "bar is-completed",
    ]
    assert "in 2 attempts" in page.text
    assert "TimeoutError: slow" in page.text


def test_time_scale_has_the_tool_calls_of_a_milestone_below_its_bar() -> None:
    state = state_named("parallel")
    page = page_of(state)
    called = [call for milestone in state["milestones"].values() for call in milestone["tool_calls"]]
    assert len(called) == 4
    assert page.all("class").count("bar call-bar is-completed") == len(called)
    assert page.text.count("look_up, ") == len(called)


def test_values_without_a_log_still_show_when_milestones_ran() -> None:
    state = {key: value for key, value in state_named("parallel").items() if key != "log"}
    page = page_of(state)
    assert page.all("class").count("bar is-completed") == 4
    assert "subject x" in page.text


def test_unknown_price_is_never_shown_as_zero() -> None:
    used = {"calls": 1, "input_tokens": 1234, "output_tokens": 5, "usd": None}
    priced = {**used, "usd": 0.25}
    usage = {
        "planner": {**used, "models": {"local": used}},
        "executor": {**used, "models": {"local": used, "dear": priced}},
    }
    page = page_of({**state_named("completed"), "usage": usage})
    cost = Page(page.section("cost")).text
    assert cost.count("unknown") == 5 + 1, "two roles, two models, the total, and the note"
    assert "$0.2500" in cost
    assert "$0.00" not in page.text
    assert "1,234" in cost
    free = page_of({**state_named("completed"), "usage": {"planner": {**used, "usd": 0.0, "models": {"m": used}}}})
    assert "$0.00" in Page(free.section("cost")).text


def hostile(port: int = 9) -> dict[str, Any]:
    """A run in which everybody tries to break out of the page, or to have it fetch something."""
    address = f"http://127.0.0.1:{port}"
    attack = f'"\'><script>document.title = 1</script></style><img src="{address}/img" onerror="alert(1)">{{{{ 7*7 }}}}'
    markdown = (
        f"{attack}\n\n![pixel]({address}/pixel.png) [click](javascript:alert(1)) [source](https://example.org/a?b=1)\n\n"
        f'<iframe src="{address}/frame"></iframe>\n\n| a | b |\n|--:|---|\n| 1 | 2 |\n\n# Heading\n'
    )

    def execute(asked: Asked) -> Answer:
        answer = diligent(asked)
        if not isinstance(answer, dict | str | Exception) and answer.tool_calls:
            call = answer.tool_calls[0]
            args = {"subject": attack} if call["name"] == "look_up" else {**call["args"], "result": attack}
            answer.tool_calls = [{**call, "args": args}]
        return answer

    drafted = plan(milestone(attack, done_when=attack, pitfalls=[attack]), strategy=attack, requirements=[attack])
    verdict = {"number": 1, "met": True, "milestones": ["m1"], "note": attack}
    planner = heavy(drafted, end={"answer": markdown, "requirements": [verdict]})
    return state_of(planner, ScriptedModel(execute), asked=attack)


def test_what_users_models_and_tools_wrote_is_text_and_nothing_else() -> None:
    page = Page(render_report(hostile(), thread="<script>x</script>"))
    assert page.text.count("<script>document.title = 1</script>") >= 8
    assert "<script>x</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert not {tag for tag, _ in page.tags} & {"script", "img", "iframe"}
    assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on") or key == "src"]
    assert [href for href in page.all("href") if not href.startswith("#")] == ["https://example.org/a?b=1"]
    assert page.all("rel") == ["noopener noreferrer"]
    assert "[image: pixel]" in page.text
    assert "h3" in [tag for tag, _ in page.tags]


def test_signs_that_deceive_and_broken_ones_are_spelled_out() -> None:
    html = render_report({**state_named("completed"), "objective": "a\u202eb\x1b[2J\ud800"})
    assert "a\\u202eb\\x1b[2J\\ud800" in html
    html.encode("utf-8")


def test_long_results_are_cut_with_a_note() -> None:
    state = state_named("completed")
    long = {"m1": {**state["milestones"]["m1"], "result": "x" * 200_000, "report": {"result": "y" * 200_000}}}
    html = render_report({**state, "milestones": {**state["milestones"], **long}, "answer": "z " * 100_000})
    assert "188,000 characters left out" in html
    assert html.count("characters left out") == 3
    assert len(html) < 300_000


@pytest.mark.parametrize(
    ("end", "last"),
    [
        ("2026-01-01T00:00:00.450+00:00", "0.4 s"),
        ("2026-01-01T00:01:40+00:00", "1.5 min"),
        ("2026-01-01T09:00:00+00:00", "8 h"),
        ("2026-03-01T00:00:00+00:00", "56 d"),
    ],
)
def test_time_scale_has_few_marks_however_long_a_run_was(end: str, last: str) -> None:
    state = state_named("completed")
    times = {"started_at": "2026-01-01T00:00:00+00:00", "finished_at": end}
    page = page_of({**state, "log": [], "milestones": {"m1": {**state["milestones"]["m1"], **times}}})
    marks = re.findall(r"<text [^>]*>(.*?)</text>", page.html)
    assert 3 <= len(marks) <= 6
    assert (marks[0], marks[-1]) == ("0 s", last)


def test_structured_answer_is_shown_as_data() -> None:
    page = page_of({**state_named("completed"), "structured_response": {"name": "<b>"}})
    assert '{ "name": "<b>" }' in page.text


def test_many_milestones_in_many_revisions_are_drawn_without_ill_references() -> None:
    drafts = [
        plan(
            *[milestone(f"{round_}-{n}", depends_on=[f"m{n}"] if n and n % 3 else []) for n in range(8)],
            requirements=["Answer it."] if round_ == 0 else [],
        )
        for round_ in range(5)
    ]
    state = state_of(heavy(*drafts), failing(*[f"{n}-5" for n in range(4)]), max_replans=4)
    assert len(state["milestones"]) == 40
    page = page_of(state)
    assert page.all("class").count("revision") == 5
    assert sum(kind.startswith("node is-") for kind in page.all("class")) >= 40
    assert {href.removeprefix("#") for href in page.all("href")} <= set(page.all("id"))


class Trap(BaseHTTPRequestHandler):
    """Notes what is fetched."""

    fetched: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.fetched.append(self.path)
        self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name it has in the base class
        """Be quiet."""


@contextmanager
def trap() -> Iterator[int]:
    Trap.fetched.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Trap) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def browse(address: str, profile: Path) -> tuple[str, list[str]]:
    """Open a page in a browser: the document as it stands then, and what the console said."""
    assert BROWSER
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={profile}"]
    command = [BROWSER, *flags, "--virtual-time-budget=2000", "--dump-dom", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_browser_runs_and_fetches_nothing_and_has_nothing_to_complain_of(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    with trap() as port:
        file.write_text(render_report(hostile(port)), "utf-8")
        document, said = browse(f"{file.as_uri()}#m1", tmp_path / "profile")
        assert said == []
        assert Trap.fetched == []
        file.write_text(f'<img src="http://127.0.0.1:{port}/seen"><script>console.error("heard")</script>', "utf-8")
        _, said = browse(file.as_uri(), tmp_path / "profile")
        assert (len(said), Trap.fetched) == (1, ["/seen"]), "the trap itself does not work"
    assert "<title>1</title>" not in document
    assert '<details open=""><summary class="row">' in re.sub(r">\s+<", "><", document), "the link did not open m1"
