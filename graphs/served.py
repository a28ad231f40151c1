"""The two graphs as `langgraph dev` serves them, with the tools that are there: the server keeps the threads."""

import importlib.util
import os

from langchain_core.tools import BaseTool

from plan_execute.graphs.executor import create_executor
from plan_execute.graphs.plan_execute import create_plan_execute_agent
from plan_execute.tools import (
    calculate,
    database_tools,
    document_tools,
    read_page,
    sample_database,
    sample_documents,
    search_web,
)


def served_tools() -> list[BaseTool]:
    """Give the tools of the served graphs: calculator, database, documents, and the web if its extra is installed.

    The environment may name other data than the sample's: in `PLAN_EXECUTE_DB` a SQLAlchemy URL or a SQLite file, in
    `PLAN_EXECUTE_DOCS` a folder.

    Raises:
        ValueError: What one of the two names is not there.
    """
    tools = [
        calculate,
        *database_tools(os.environ.get("PLAN_EXECUTE_DB") or sample_database()),
        *document_tools(os.environ.get("PLAN_EXECUTE_DOCS") or sample_documents()),
    ]
    if importlib.util.find_spec("ddgs") and importlib.util.find_spec("trafilatura"):
        tools += [search_web, read_page]
    return tools


_tools = served_tools()
plan_execute = create_plan_execute_agent(tools=_tools)
executor = create_executor(tools=_tools)
