"""Tools: what an executor can do. Each name is loaded when it is first used."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plan_execute.tools.arithmetic import calculate
    from plan_execute.tools.database import ReadOnlyDatabase, database_tools
    from plan_execute.tools.documents import Library, document_tools
    from plan_execute.tools.sample import sample_database, sample_documents
    from plan_execute.tools.search import search_web
    from plan_execute.tools.web import read_page

__all__ = [
    "Library",
    "ReadOnlyDatabase",
    "calculate",
    "database_tools",
    "document_tools",
    "read_page",
    "sample_database",
    "sample_documents",
    "search_web",
]

_HOMES = {
    "Library": "documents",
    "ReadOnlyDatabase": "database",
    "calculate": "arithmetic",
    "database_tools": "database",
    "document_tools": "documents",
    "read_page": "web",
    "sample_database": "sample",
    "sample_documents": "sample",
    "search_web": "search",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
