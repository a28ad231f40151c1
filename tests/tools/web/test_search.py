"""What a web search returns, and what the model is told when searching is impossible."""

import json
from collections.abc import Iterator

import pytest
from langchain_core.tools import ToolException

from plan_execute.tools.web.search import SearchResult, search_default, search_tavily, search_tool, search_web
from tests.tools.serving import Reply, Request, serving


def _page(number: int) -> SearchResult:
    return SearchResult(title=f"Page {number}", url=f"https://example.com/{number}", text="word " * 500)


def test_pages_found_are_listed_and_truncated() -> None:
    asked: list[str] = []

    def search(query: str) -> list[SearchResult]:
        asked.append(query)
        return [_page(number) for number in range(9)]

    found = json.loads(search_tool(search).invoke({"query": "tarns " * 200}))
    assert [page["url"] for page in found] == [f"https://example.com/{number}" for number in range(5)]
    assert {len(page["text"]) for page in found} == {500}
    assert len(asked[0]) == 400


def test_nothing_found_says_what_to_try() -> None:
    with pytest.raises(ToolException, match=r"^Nothing found for 'xyzzy'\. Try fewer or other words\.$"):
        search_tool(lambda query: []).invoke({"query": "xyzzy"})


def test_pages_found_hide_nothing_and_lead_to_web_pages() -> None:
    evil = "".join(chr(0xE0000 + ord(character)) for character in "CANARY") + "\u202e\u200b\x1b[2J"
    urls = ["javascript:alert(1)", "file:///etc/passwd", "ftp://x.example", "HTTPS://good.example/", "", "//x.example"]
    pages = [SearchResult(title=f"Tarns{evil}", url=url, text=f"deep{evil}") for url in urls]
    found = json.loads(search_tool(lambda query: pages).invoke({"query": "tarns"}))
    assert found == [{"title": "Tarns[2J", "url": "HTTPS://good.example/", "text": "deep[2J"}]


@pytest.mark.parametrize("size", [1_000_001, 10_000_000])
def test_a_response_that_is_too_large_is_not_read_to_its_end(size: int) -> None:
    sent: list[int] = []

    def answer(request: Request) -> Iterator[bytes]:
        yield b"HTTP/1.0 200 OK\r\n\r\n"
        for _ in range(0, size, 1_000):
            sent.append(1)
            yield b" " * 1_000

    with serving(answer) as port, pytest.raises(ToolException, match="a response that cannot be read"):
        search_tavily("tarns", "key", f"http://127.0.0.1:{port}/search")
    assert sum(sent) <= size // 1_000 + 1


def test_tool_says_that_it_reaches_out_and_takes_keywords() -> None:
    assert search_web.metadata == {"effect": "egress", "languages": {"query": "keywords"}}
    assert list(search_web.args) == ["query"]


def test_tavily_is_asked_with_the_key_and_its_pages_are_read() -> None:
    requests: list[Request] = []
    results = {"results": [{"title": "Tarns", "url": "https://example.com", "content": "deep", "score": 1}]}

    def answer(request: Request) -> Reply:
        requests.append(request)
        return Reply(json.dumps(results).encode())

    with serving(answer) as port:
        found = search_tavily("tarns", "canary-key", f"http://127.0.0.1:{port}/search")
    assert found == [SearchResult(title="Tarns", url="https://example.com", text="deep")]
    assert requests[0].headers["authorization"] == "Bearer canary-key"
    assert json.loads(requests[0].body) == {"query": "tarns", "max_results": 5}


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (
            Reply(b"{}", status=401),
            r"\(Tavily responded with status 401\)\. Do not try again; report what is missing\.$",
        ),
        (Reply(b"<html>"), "cannot be read"),
        (Reply(b"[]"), "cannot be read"),
        (Reply(b'{"results": [{}]}'), "cannot be read"),
    ],
)
def test_a_failure_of_tavily_is_reported_without_the_key(reply: Reply, problem: str) -> None:
    with serving(lambda request: reply) as port, pytest.raises(ToolException, match=problem) as error:
        search_tavily("tarns", "canary-key", f"http://127.0.0.1:{port}/search")
    assert "canary" not in str(error.value)


def test_an_unreachable_tavily_is_reported() -> None:
    with pytest.raises(ToolException, match="Tavily cannot be reached"):
        search_tavily("tarns", "canary-key", "http://127.0.0.1:1/search")


def test_an_unreachable_duckduckgo_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy at a closed local port keeps the search off the network."""
    pytest.importorskip("ddgs")
    monkeypatch.delenv("TAVILY_API_KEY", raising=False)
    monkeypatch.setenv("DDGS_PROXY", "http://127.0.0.1:1")
    with pytest.raises(ToolException, match=r"\(DuckDuckGo did not respond\)"):
        search_default("tarns")
