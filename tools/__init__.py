"""Tools that an executor can use. Each is imported when it is first used, because some load slowly."""

from typing import TYPE_CHECKING

import lazy_loader  # type: ignore[import-untyped]  # it has no types

if TYPE_CHECKING:
    from plan_execute.tools.arithmetic import calculate as calculate
    from plan_execute.tools.database import ReadOnlyDatabase as ReadOnlyDatabase
    from plan_execute.tools.database import database_tools as database_tools
    from plan_execute.tools.dates import calculate_dates as calculate_dates
    from plan_execute.tools.default_tools import make_default_tools as make_default_tools
    from plan_execute.tools.documents import Library as Library
    from plan_execute.tools.documents import document_tools as document_tools
    from plan_execute.tools.files import file_tools as file_tools
    from plan_execute.tools.mcp.servers import McpServers as McpServers
    from plan_execute.tools.mcp.servers import mcp_tools as mcp_tools
    from plan_execute.tools.own_tools import load_tools as load_tools
    from plan_execute.tools.sample import sample_database as sample_database
    from plan_execute.tools.sample import sample_documents as sample_documents
    from plan_execute.tools.units import convert_units as convert_units
    from plan_execute.tools.web.page import read_page as read_page
    from plan_execute.tools.web.page import read_page_tool as read_page_tool
    from plan_execute.tools.web.search import search_web as search_web

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "arithmetic": ["calculate"],
        "database": ["ReadOnlyDatabase", "database_tools"],
        "dates": ["calculate_dates"],
        "default_tools": ["make_default_tools"],
        "documents": ["Library", "document_tools"],
        "files": ["file_tools"],
        "mcp.servers": ["McpServers", "mcp_tools"],
        "own_tools": ["load_tools"],
        "sample": ["sample_database", "sample_documents"],
        "units": ["convert_units"],
        "web.page": ["read_page", "read_page_tool"],
        "web.search": ["search_web"],
    },
)
