"""Web search, with Tavily or DuckDuckGo."""

import json
import os
from collections.abc import Callable

import httpx
from langchain_core.tools import BaseTool, ToolException, tool
from typing_extensions import TypedDict

from plan_execute.tools.messages import INSTALL_WEB

RESULTS = 5
"""Most pages that a search returns."""
SECONDS = 10.0
"""Longest time that a search may take, in seconds."""


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
        A tool that returns at most `RESULTS` pages with excerpts of at most 500 characters.
    """

    @tool
    def search_web(query: str) -> str:
        """Search the web for a few keywords and get the titles, URLs and short excerpts of pages, as JSON."""
        found = search(query[:400])
        if not found:
            raise ToolException(f"Nothing found for {query[:100]!r}. Try fewer or other words.")
        pages = [{**page, "text": page["text"][:500]} for page in found[:RESULTS]]
        return json.dumps(pages, ensure_ascii=False, indent=0)

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
        response = httpx.post(
            url,
            json={"query": query, "max_results": RESULTS},
            headers={"Authorization": f"Bearer {key}"},
            timeout=SECONDS,
        )
        pages = response.raise_for_status().json()["results"]
        return [SearchResult(title=page["title"], url=page["url"], text=page["content"]) for page in pages]
    except httpx.HTTPStatusError as error:
        raise _unavailable(f"Tavily responded with status {error.response.status_code}") from None
    except httpx.HTTPError:
        raise _unavailable("Tavily cannot be reached") from None
    except (ValueError, KeyError, TypeError):
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


def _unavailable(reason: str) -> ToolException:
    """Tell the model that searching again will not help, and why, without URLs or keys."""
    return ToolException(f"Web search is not available ({reason}). Do not try again; report what is missing.")


search_web = search_tool(search_default)
