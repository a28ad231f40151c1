"""Parts of messages that several tools share."""

import difflib
from collections.abc import Collection

INSTALL_WEB = "pip install '.[web]' in a clone, or pip install 'PATH/TO/WHEEL.whl[web]'"
"""The command that installs what `search_web` and `read_page` need."""
INSTALL_DOCUMENTS = INSTALL_WEB.replace("web", "documents")
"""The command that installs what PDF, DOCX and HTML files need."""
INSTALL_MCP = INSTALL_WEB.replace("[web]", "[mcp]")
"""The command that installs what MCP servers need."""
INSTALL_UNITS = INSTALL_WEB.replace("[web]", "[units]")
"""The command that installs what `convert_units` needs."""


def closest(name: str, known: Collection[str]) -> str | None:
    """Find the known name that is most like an unknown one, or None if none is."""
    return next(iter(difflib.get_close_matches(name.casefold(), known, n=1, cutoff=0.5)), None)


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Suggest the known name that is most like an unknown one, in a sentence that begins with a space."""
    return f" Did you mean {near!r}?" if (near := closest(name, known)) else ""


def list_names(names: Collection[str], most: int = 20) -> str:
    """List the first names and say how many more there are."""
    shown = ", ".join(list(names)[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def truncate(text: str, limit: int) -> str:
    """Shorten a text to a number of characters and say how long it was."""
    return text if len(text) <= limit else f"{text[:limit]}... (truncated: {len(text)} characters in all)"
