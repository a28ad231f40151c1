"""Read-only access to databases and data files."""

from typing import TYPE_CHECKING

import lazy_loader  # type: ignore[import-untyped]  # it has no types

if TYPE_CHECKING:
    from plan_execute.tools.database.database_tools import MAX_OUTPUT as MAX_OUTPUT
    from plan_execute.tools.database.database_tools import database_tools as database_tools
    from plan_execute.tools.database.readonly import ReadOnlyDatabase as ReadOnlyDatabase
    from plan_execute.tools.database.readonly import Rows as Rows
    from plan_execute.tools.database.readonly import TableSchema as TableSchema

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "database_tools": ["MAX_OUTPUT", "database_tools"],
        "readonly": ["ReadOnlyDatabase", "Rows", "TableSchema"],
    },
)
