"""Web search, with Tavily or DuckDuckGo."""

import json
import os
import time
from collections.abc import Callable

import httpx
from langchain_core.tools import BaseTool, ToolException, tool
from typing_extensions import TypedDict

from plan_execute.tools.characters import drop_invisible
from plan_execute.tools.messages import INSTALL_WEB

RESULTS = 5
"""Most pages that a search returns."""
SECONDS = 10.0
"""Longest time that a search waits for a response, and then for the end of it, in seconds."""
MAX_RESPONSE = 1_000_000
"""Largest response of a search service, in bytes."""


class SearchResult(TypedDict):
    """A page that a search found."""

    title: str
    url: str
    text: str
    """An excerpt of the page, or a summary of it."""


def search_tool(search: Callable[[str], list[SearchResult]]) -> BaseTool:
    """Create the tool search_web.

    Args:
        search: Finds pages for a query, or raises `ToolException`.

    Returns:
        A tool that returns at most `RESULTS` pages with excerpts of at most 500 characters, without those whose URL
        does not begin with http:// or https://.
    """

    @tool
    def search_web(query: str) -> str:
        """Search the web for a few keywords and get the titles, URLs and short excerpts of pages, as JSON."""
        found = [page for page in search(query[:400]) if page["url"].lower().startswith(("http://", "https://"))]
        if not found:
            raise ToolException(f"Nothing found for {query[:100]!r}. Try fewer or other words.")
        return json.dumps([_shorten(page) for page in found[:RESULTS]], ensure_ascii=False, indent=0)

    search_web.metadata = {"effect": "egress", "languages": {"query": "keywords"}}
    return search_web


def search_default(query: str) -> list[SearchResult]:
    """Search with Tavily if TAVILY_API_KEY is set, else with DuckDuckGo, which needs no key."""
    key = os.environ.get("TAVILY_API_KEY")
    return search_tavily(query, key) if key else search_duckduckgo(query)


def search_tavily(query: str, key: str, url: str = "https://api.tavily.com/search") -> list[SearchResult]:
    """Search with Tavily.

    Raises:
        ToolException: Tavily cannot be reached, refuses the key, or its response cannot be read.
    """
    try:
        pages = json.loads(_post(url, {"query": query, "max_results": RESULTS}, key))["results"]
        return [
            SearchResult(title=str(page["title"]), url=str(page["url"]), text=str(page["content"])) for page in pages
        ]
    except httpx.HTTPStatusError as error:
        raise _unavailable(f"Tavily responded with status {error.response.status_code}") from None
    except httpx.HTTPError:
        raise _unavailable("Tavily cannot be reached") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _unavailable("Tavily sent a response that cannot be read") from None


def search_duckduckgo(query: str) -> list[SearchResult]:
    """Search with DuckDuckGo.

    Raises:
        ToolException: The package ddgs is missing, or DuckDuckGo does not respond or limits the rate of searches.
    """
    try:
        from ddgs import DDGS
        from ddgs.exceptions import DDGSException
    except ImportError:
        raise _unavailable(f"it needs more packages: {INSTALL_WEB}") from None
    try:
        pages = DDGS(timeout=int(SECONDS)).text(query, max_results=RESULTS, backend="duckduckgo")
    except DDGSException as error:
        if "No results" in str(error):
            return []
        raise _unavailable("DuckDuckGo did not respond") from None
    return [SearchResult(title=page["title"], url=page["href"], text=page["body"]) for page in pages]


def _post(url: str, query: dict[str, object], key: str) -> bytes:
    """Send a query, and read the response up to a size and a time."""
    headers = {"Authorization": f"Bearer {key}", "Accept-Encoding": "identity"}
    content, end = bytearray(), time.monotonic() + SECONDS
    with httpx.stream("POST", url, json=query, headers=headers, timeout=SECONDS) as response:
        response.raise_for_status()
        for chunk in response.iter_raw():
            content += chunk
            if len(content) > MAX_RESPONSE:
                raise ValueError("the response is too large")
            if time.monotonic() > end:
                raise httpx.ReadTimeout("the response takes too long")
    return bytes(content)


def _shorten(page: SearchResult) -> SearchResult:
    title, url, text = map(drop_invisible, (page["title"], page["url"], page["text"]))
    return SearchResult(title=title[:300], url=url[:2_000], text=text[:500])


def _unavailable(reason: str) -> ToolException:
    """Tell the model that searching again will not help, and why, without URLs or keys."""
    return ToolException(f"Web search is not available ({reason}). Do not try again; report what is missing.")


search_web = search_tool(search_default)
