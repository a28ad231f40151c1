"""A run as one page of HTML."""

from typing import TYPE_CHECKING

import lazy_loader  # type: ignore[import-untyped]  # it has no types

if TYPE_CHECKING:
    from plan_execute.graphs.report.page import render_report as render_report

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"page": ["render_report"]},
)
