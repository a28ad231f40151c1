"""Tools that an executor can use, and the tools of the command line and the server by default.

Each name is imported when it is first used, because some of them load slowly.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plan_execute.tools.arithmetic import calculate
    from plan_execute.tools.database import ReadOnlyDatabase, database_tools
    from plan_execute.tools.default_tools import make_default_tools
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
    "make_default_tools",
    "read_page",
    "sample_database",
    "sample_documents",
    "search_web",
]

_MODULES = {
    "arithmetic": ["calculate"],
    "database": ["ReadOnlyDatabase", "database_tools"],
    "default_tools": ["make_default_tools"],
    "documents": ["Library", "document_tools"],
    "sample": ["sample_database", "sample_documents"],
    "search": ["search_web"],
    "web": ["read_page"],
}


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
