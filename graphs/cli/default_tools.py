"""The tools that the command and the server work with: a calculator, and what looks into the data named."""

import importlib.util

from langchain_core.tools import BaseTool

from plan_execute.tools import (
    calculate,
    database_tools,
    document_tools,
    read_page,
    sample_database,
    sample_documents,
    search_web,
)


def make_tools(db: str | None = None, docs: str | None = None, *, web: bool | None = None) -> list[BaseTool]:
    """Give the tools for these data; database and documents of a sample shop when none are named.

    Args:
        db: A SQLAlchemy URL or the path of a SQLite file.
        docs: A folder of documents.
        web: Whether to search the web and read pages; None: if the packages for it are there, beside the other data.

    Raises:
        ValueError: What `db` or `docs` names is not there, or the packages for `web` are not; one sentence says it.
    """
    sample = not (db or docs or web)
    tools: list[BaseTool] = [calculate]
    if db or sample:
        tools += database_tools(db or sample_database())
    if docs or sample:
        tools += document_tools(docs or sample_documents())
    can_browse = bool(importlib.util.find_spec("ddgs") and importlib.util.find_spec("trafilatura"))
    if web and not can_browse:
        raise ValueError("The web needs more packages: pip install 'langgraph-plan-execute[web]'.")
    if can_browse and web is not False:
        tools += [search_web, read_page]
    return tools
