"""Search and reading of documents."""

from typing import TYPE_CHECKING

import lazy_loader  # type: ignore[import-untyped]  # it has no types

if TYPE_CHECKING:
    from plan_execute.tools.documents.document_tools import document_tools as document_tools
    from plan_execute.tools.documents.library import Library as Library

# Lazily, because the process that converts documents needs little of this room.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"document_tools": ["document_tools"], "library": ["Library"]}
)
