"""The tools search_documents and read_document."""

import re
from pathlib import Path

from langchain_core.tools import BaseTool, tool

from plan_execute.tools.documents.kinds import READABLE
from plan_execute.tools.documents.library import Library, Passage
from plan_execute.tools.documents.update import describe_left_out
from plan_execute.tools.messages import list_names


def document_tools(folder: Path | str, *, outline: bool = False) -> list[BaseTool]:
    """Create the tools search_documents and read_document for the documents of a folder.

    The files are read once, here. The tools look documents up by name and never build a path from what a model
    writes, so nothing outside the folder can be reached. Symbolic links are skipped.

    Args:
        folder: The folder, searched with its subfolders, except hidden ones; or one document.
        outline: Whether the description of search_documents lists the headings of the documents beside their names, so
            that a planner sees what they are about. Only for documents you vouch for: a planner reads the headings.

    Returns:
        The two tools. They raise `ToolException` when nothing is found.

    Raises:
        ValueError: There is no such folder or file, or no document in it.
    """
    library = Library(folder)

    @tool
    def search_documents(query: str) -> str:
        """Find the passages in the documents that best match a few keywords, for example "shipping cost Canada"."""
        return "\n\n".join(map(_cite, library.search(query)))

    @tool
    def read_document(name: str, part: int = 1) -> str:
        """Read a document by its name. A long document has several parts: ask for part 2, 3, ... to continue."""
        return _mark_forged(library.read(name, part))

    search_documents.metadata = {"effect": "read", "languages": {"query": "keywords"}}
    read_document.metadata = {"effect": "read"}
    listed = library.outline() if outline else library.names
    search_documents.description += f" The documents are {list_names(listed)}."
    if left_out := describe_left_out(library.left_out):
        search_documents.description += f" {left_out}"
        search_documents.metadata["left_out"] = left_out
    return [search_documents, read_document]


_BRACKETS = str.maketrans("[]\uff3b\uff3d", "()()")
_FORGED = re.compile(
    r"^([^\w\n\[\uff3b]{0,50})([\[\uff3b])(?=[^\n\]\uff3d]{1,400}?"
    rf"(?:{'|'.join(map(re.escape, READABLE))})[^\n\]\uff3d]{{0,60}}[:\uff1a])",
    re.MULTILINE | re.IGNORECASE,
)
"""The beginning of a line that looks like a citation of ours."""


def _cite(passage: Passage) -> str:
    """A passage below its citation: the document, where in it, and the heading."""
    place = f", {passage.place}" if passage.place else ""
    heading = " ".join(passage.heading.translate(_BRACKETS).split())
    return f"[{passage.document}{place}: {heading}]\n{_mark_forged(passage.text)}"


def _mark_forged(text: str) -> str:
    r"""Put a backslash before a text's own brackets, where its readers would take a line for a citation."""
    return _FORGED.sub(r"\1\\\2", text)
