"""A search of the web."""

import json
import os
from collections.abc import Callable
from typing import TypedDict

from langchain_core.tools import BaseTool, ToolException, tool

RESULTS = 5
"""How many pages a search names."""
SECONDS = 10.0
"""How long a search may take."""


class Found(TypedDict):
    """A page that a search found."""

    title: str
    url: str
    text: str


class SearchError(Exception):
    """The search engine could not be used; the message says why, without addresses or keys."""


def search_tool(search: Callable[[str], list[Found]]) -> BaseTool:
    """Make the tool search_web of a function that searches or raises `SearchError`."""

    @tool
    def search_web(query: str) -> str:
        """Search the web for a few keywords and get titles, addresses and short texts of pages, as JSON."""
        try:
            found = search(query[:400])
        except SearchError as problem:
            raise ToolException(
                f"The web cannot be searched from here ({problem}). Do not try again; report what is missing."
            ) from None
        if not found:
            raise ToolException(f"Nothing found for {query[:100]!r}. Try fewer or other words.")
        cut = [{**page, "text": page["text"][:500]} for page in found[:RESULTS]]
        return json.dumps(cut, ensure_ascii=False, indent=0)

    search_web.metadata = {"effect": "egress", "languages": {"query": "keywords"}}
    return search_web


def search_anywhere(query: str) -> list[Found]:
    """Search with Tavily when TAVILY_API_KEY is set, else with DuckDuckGo, which needs no key."""
    key = os.environ.get("TAVILY_API_KEY")
    return search_tavily(query, key) if key else search_duckduckgo(query)


def search_tavily(query: str, key: str, address: str = "https://api.tavily.com/search") -> list[Found]:
    """Search with Tavily.

    Raises:
        SearchError: Tavily cannot be reached or refuses the key.
    """
    try:
        import httpx

        answer = httpx.post(
            address,
            json={"query": query, "max_results": RESULTS},
            headers={"Authorization": f"Bearer {key}"},
            timeout=SECONDS,
        )
        answer.raise_for_status()
        return [Found(title=page["title"], url=page["url"], text=page["content"]) for page in answer.json()["results"]]
    except ImportError:
        raise SearchError(_NOT_INSTALLED) from None
    except httpx.HTTPStatusError as error:
        raise SearchError(f"Tavily answered with status {error.response.status_code}") from None
    except httpx.HTTPError:
        raise SearchError("Tavily could not be reached") from None
    except (ValueError, KeyError, TypeError):
        raise SearchError("Tavily gave an answer that cannot be read") from None


def search_duckduckgo(query: str) -> list[Found]:
    """Search with DuckDuckGo.

    Raises:
        SearchError: DuckDuckGo cannot be reached or takes no more searches for now.
    """
    try:
        from ddgs import DDGS
        from ddgs.exceptions import DDGSException
    except ImportError:
        raise SearchError(_NOT_INSTALLED) from None
    try:
        pages = DDGS(timeout=int(SECONDS)).text(query, max_results=RESULTS, backend="duckduckgo")
    except DDGSException as error:
        if "No results" in str(error):
            return []
        raise SearchError("DuckDuckGo did not answer") from None
    return [Found(title=page["title"], url=page["href"], text=page["body"]) for page in pages]


_NOT_INSTALLED = "pip install 'langgraph-plan-execute[web]' adds what is needed"

search_web = search_tool(search_anywhere)
