"""The tools for the files of a folder."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from langchain_core.tools import BaseTool, ToolException, tool

from plan_execute.tools.characters import spell_out_invisible
from plan_execute.tools.files.folder import Folder, Tally
from plan_execute.tools.files.opening import spelled
from plan_execute.tools.files.text import decode, encode, plain, replace_once
from plan_execute.tools.messages import truncate

MAX_OUTPUT = 20_000
"""Longest result of a tool, in characters, not counting the note that it is incomplete."""
MAX_LISTED = 200
"""Most files that are listed."""
MAX_FOUND = 100
"""Most lines that a search returns."""
MAX_LINE = 300
"""Most characters shown of a line that was found."""


def file_tools(root: Path | str, *, write: bool = False, hidden: bool = False, seconds: float = 10.0) -> list[BaseTool]:
    """Create the tools list_files, read_file and find_in_files for a folder, and those that write if they are wanted.

    Nothing outside the folder is reached: each part of a path is opened from the folder above it, and symbolic links
    are not followed. Files are text, in UTF-8 or in UTF-16 with a byte order mark.

    Args:
        root: The folder.
        write: Whether there are also write_file and edit_file. They write a file whole or not at all.
        hidden: Whether files and folders whose names begin with a dot (.env, .git, .ssh) are there for the tools.
        seconds: How long a list or a search may take.

    Returns:
        The tools. They raise `ToolException` with a sentence for the model when a call cannot succeed.

    Raises:
        ValueError: There is no such folder.
    """
    files = Folder(root, hidden=hidden)

    @tool
    def list_files(folder: str = "", pattern: str = "*") -> str:
        """List the files in a folder and its subfolders, with their sizes; without arguments, all files.

        A pattern such as *.md selects them by name, one such as src/*.py by path.
        """
        tally, more = Tally(), 0
        lines: list[str] = []
        for file in files.walk(folder, pattern, time.monotonic() + seconds, tally):
            if len(lines) < MAX_LISTED:
                lines.append(f"{file.path} ({file.size:,} bytes)")
            else:
                more += 1
        if more:
            lines.append(f"({more:,} more files: name a subfolder or a pattern.)")
        return truncate("\n".join(lines or ["There is no such file."]), MAX_OUTPUT) + tally.note()

    @tool
    def read_file(path: str, start_line: int = 1) -> str:
        """Read a text file. Of a long one a part is shown: read on with start_line."""
        text = plain(_text(files.read(path), path))
        if not text:
            return "(The file is empty.)"
        lines = text.removesuffix("\n").split("\n")
        if not 1 <= start_line <= len(lines):
            raise ToolException(f"There is no line {start_line:,}: the file has {len(lines):,}.")
        part = _part(lines[start_line - 1 :])
        if len(part) == len(lines):
            return "\n".join(part) + text[len(text.removesuffix("\n")) :]
        last = start_line + len(part) - 1
        more = f"; read on with start_line={last + 1}" if last < len(lines) else ""
        return "\n".join([f"(Lines {start_line:,} to {last:,} of {len(lines):,}{more}.)", *part])

    @tool
    def find_in_files(text: str, pattern: str = "*") -> str:
        """Find the lines with a text in them, in files such as *.md or src/*.py. Upper and lower case are the same."""
        return _search(files, text.casefold(), pattern, time.monotonic() + seconds)

    @tool
    def write_file(path: str, text: str) -> str:
        """Write a whole text file. One that exists is replaced."""
        content = encode(text)
        created = files.write(path, content)
        return f"{'Created' if created else 'Replaced'} {path}, {len(content):,} bytes."

    @tool
    def edit_file(path: str, old: str, new: str) -> str:
        """Replace a passage of a text file, which occurs in it exactly once, and leave the rest as it is."""
        files.edit(path, lambda content: replace_once(content, _text(content, path), old, new))
        return f"Replaced the passage in {path}."

    for reading in (list_files, read_file, find_in_files):
        reading.metadata = {"effect": "read"}
        if not hidden:
            reading.description += " Hidden files and folders (.env, .git) are left out."
    write_file.metadata = {"effect": "effect", "idempotent": True}
    edit_file.metadata = {"effect": "effect"}
    return [list_files, read_file, find_in_files, *([write_file, edit_file] if write else [])]


def _text(content: bytes, path: str) -> str:
    text = decode(content)
    if text is None:
        raise ToolException(f"'{spelled(path)}' is no text in UTF-8, or in UTF-16 with a byte order mark.")
    return text


def _part(lines: Sequence[str]) -> list[str]:
    """The first lines, with invisible characters spelled out, as many as fit; at least one, cut if it has to be."""
    part: list[str] = []
    room = MAX_OUTPUT
    for line in lines:
        text = spell_out_invisible(line[: MAX_OUTPUT + 1], lines=True)
        room -= len(text) + 1
        if room < 0:
            return part or [truncate(text, MAX_OUTPUT)]
        part.append(text)
    return part


def _search(files: Folder, wanted: str, pattern: str, deadline: float) -> str:
    if not wanted.strip() or "\n" in wanted or len(wanted) > MAX_LINE:
        raise ToolException(f"Search for 1 to {MAX_LINE} characters that stand on one line.")
    tally, searched = Tally(), 0
    lines: list[str] = []
    for file in files.walk("", pattern, deadline, tally):
        try:
            text = decode(files.read_parts(file.parts))
        except (OSError, ToolException):
            tally.left_out["too large, or that cannot be opened"] += 1
            continue
        if text is None:
            tally.left_out["without text in UTF-8"] += 1
            continue
        searched += 1
        lines += _found(file.path, text, wanted)
        if len(lines) >= MAX_FOUND or sum(map(len, lines)) > MAX_OUTPUT:
            tally.stopped = f"Stopped after {MAX_FOUND} lines: search for more of the line, or in fewer files."
            break
    return "\n".join(lines[:MAX_FOUND] or [f"Nothing found in {searched:,} files."]) + tally.note()


def _found(path: str, text: str, wanted: str) -> Iterator[str]:
    """The lines of a file with a text in them, each with the path and its number."""
    if wanted not in text.casefold():
        return
    for number, line in enumerate(plain(text).split("\n"), start=1):
        if (place := line.casefold().find(wanted)) >= 0:
            start = max(0, place - MAX_LINE // 3)
            excerpt = spell_out_invisible(line[start : start + MAX_LINE].strip(), lines=True)
            yield f"{path}:{number}: {'...' if start else ''}{excerpt}{'...' if len(line) > start + MAX_LINE else ''}"
