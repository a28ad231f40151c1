"""The process that converts PDF, DOCX and HTML to text: it ends itself if a file keeps it busy for too long.

A hostile file may keep a parser busy for hours or expand to more than fits into memory; a process can be ended and
limited. It reads requests from standard input, a line of JSON each: {"ending", "content" (base64), "seconds"}. The
answer is a line with {"text", "headings", "unit", "starts", "truncated"}, or {"reason"} for a file that is left out.
"""

import base64
import faulthandler
import json
import os
import re
import signal
import sys
import warnings
import zipfile
from contextlib import suppress
from importlib import import_module
from io import BytesIO
from time import monotonic
from typing import Any

from plan_execute.tools.documents.headings import MAX_HEADING, Heading
from plan_execute.tools.documents.kinds import CONVERTED, clean
from plan_execute.tools.encodings import detect_encoding
from plan_execute.tools.web.extraction import BLOCKS, drop_hidden, walk

GRACE = 1.5
"""The time limit of a request times this is when the process ends itself."""
MEMORY = 2**30
"""Most memory that the process may take for its data, in bytes, where the system can limit it."""
MAX_TEXT = 5_000_000
"""Most characters of one document; the rest is left out."""
MAX_UNPACKED = 200_000_000
"""Most bytes that the parts of a DOCX file may have in all."""
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"


class LeftOutError(Exception):
    """A document cannot be read; the argument is the reason."""


def main() -> None:
    """Answer requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    warnings.simplefilter("ignore")
    _limit_resources()
    for package in {
        package for packages in CONVERTED.values() for package in packages
    }:  # so that loading them costs no file its time
        with suppress(ImportError):
            import_module(package)
    requests = map(json.loads, sys.stdin.buffer)
    next(requests)
    with open(os.devnull, "w") as nowhere:
        for request in requests:
            faulthandler.dump_traceback_later(request["seconds"] * GRACE, exit=True, file=nowhere)
            answer = json.dumps(_answer(request))
            faulthandler.cancel_dump_traceback_later()
            sys.stdout.write(answer + "\n")
            sys.stdout.flush()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    content = base64.b64decode(request["content"])
    try:
        if request["ending"] == ".pdf":
            return _read_pdf(content, monotonic() + request["seconds"])
        return _read_html(_docx_as_html(content) if request["ending"] == ".docx" else _decode_html(content))
    except LeftOutError as error:
        return {"reason": str(error)}
    except MemoryError:
        return {"reason": "too large"}
    except Exception:  # noqa: BLE001 - parsers raise anything on broken files, and this process has to go on
        return {"reason": "unreadable"}


def _read_pdf(content: bytes, until: float) -> dict[str, Any]:
    from pypdf import PdfReader
    from pypdf.errors import FileNotDecryptedError

    text, starts = "", []
    try:
        pages = PdfReader(BytesIO(content)).pages
        count = len(pages)
        for page in pages:
            starts.append(len(text))
            text += clean(page.extract_text()).strip() + "\n\n"
            if monotonic() > until or len(text) > MAX_TEXT:
                break
    except FileNotDecryptedError:
        raise LeftOutError("encrypted") from None
    return _result(text, [], "page", starts, truncated=len(starts) < count)


def _docx_as_html(content: bytes) -> bytes:
    import mammoth  # type: ignore[import-untyped]  # it has no types

    if content.startswith(b"\xd0\xcf\x11\xe0"):  # an encrypted file stands in the container that Word used before
        raise LeftOutError("encrypted")
    html = mammoth.convert_to_html(
        _without_hidden_text(content),
        style_map="p[style-name='Title'] => h1:fresh",
        convert_image=lambda _: [],
    ).value
    return str(html).encode()


def _without_hidden_text(content: bytes) -> BytesIO:
    """Copy a Word document without the runs of text that are formatted as hidden, which mammoth shows."""
    from lxml import etree  # type: ignore[import-untyped]  # it has no types

    copy = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as parts, zipfile.ZipFile(copy, "w") as kept:
        if sum(part.file_size for part in parts.infolist()) > MAX_UNPACKED:
            raise LeftOutError("too large")
        for part in parts.infolist():
            written = parts.read(part)
            if b"vanish" in written and part.filename.endswith(".xml"):
                tree = etree.fromstring(written, etree.XMLParser(resolve_entities=False))
                for run in list(tree.iter(f"{_WORD}r")):
                    vanish = run.find(f"{_WORD}rPr/{_WORD}vanish")
                    if vanish is not None and vanish.get(f"{_WORD}val") not in {"0", "false", "off"}:
                        run.getparent().remove(run)
                written = etree.tostring(tree)
            kept.writestr(part.filename, written)
    copy.seek(0)
    return copy


def _decode_html(content: bytes) -> bytes:
    """The page in UTF-8: in its encoding by a byte order mark, by what it declares, or by its bytes."""
    encoding = detect_encoding(content)
    declared = re.search(rb"<meta[^>]{1,200}charset\s*=\s*[\"']?([\w-]{1,40})", content[:4_096], re.IGNORECASE)
    if declared and not encoding.startswith("utf"):
        with suppress(LookupError):
            return content.decode(declared[1].decode("ascii"), "replace").encode()
    return content.decode(encoding, "replace").encode()


def _read_html(content: bytes) -> dict[str, Any]:
    """Read the text of a page that a browser would show, a line for each block."""
    from lxml import html

    tree = html.document_fromstring(content, parser=html.HTMLParser(encoding="utf-8", huge_tree=True))
    drop_hidden(tree)
    body = tree.find("body")
    writer = _Writer()
    for starts, element in walk(tree if body is None else body):
        writer.element(element.tag, starts=starts)
        writer.write((element.text if starts else element.tail) or "")
        if writer.length > MAX_TEXT:
            break
    return _result("".join(writer.parts), writer.headings, "", [], truncated=writer.length > MAX_TEXT)


class _Writer:
    """Puts the text of a page together, and remembers where its headings are."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.length = 0
        self.headings: list[Heading] = []
        self._opened: tuple[int, int] | None = None  # where the heading that is being written begins, also in `parts`
        self._verbatim = 0
        self._cells = 0  # in the row so far
        self._inside_cell = 0
        self._end = "\n\n"  # the last two characters

    def element(self, tag: str, *, starts: bool) -> None:
        """Begin or end an element."""
        is_heading = re.fullmatch("h[1-6]", tag) is not None
        if tag in {"td", "th"}:
            self._add(("| " if self._end.endswith(" ") else " | ") if starts and self._cells else "")
            self._cells += starts
            self._inside_cell += 1 if starts else -1
        elif BLOCKS.fullmatch(tag) and self._inside_cell > 0:
            self._add(" " if starts and not self._end.endswith((" ", "\n")) else "")
        elif BLOCKS.fullmatch(tag) and (starts or tag != "br"):
            self._cells = 0
            self._add("" if self._end.endswith("\n") else "\n")
            if starts:
                spaced = tag in {"p", "table", "ul", "ol", "pre"} or is_heading
                self._add("\n" if spaced and self._end != "\n\n" else "")
                self._add("- " if tag == "li" else "")
        self._verbatim += (1 if starts else -1) if tag == "pre" else 0
        if is_heading and starts:
            self._opened = (self.length, len(self.parts))
        elif is_heading and self._opened:
            start, first = self._opened
            title = " ".join("".join(self.parts[first:]).split())
            if title and len(title) <= MAX_HEADING:
                self.headings.append(Heading(start, self.length, title))
            self._opened = None

    def write(self, text: str) -> None:
        """Add text; outside of `pre`, white space counts as one space."""
        text = clean(text)
        if not self._verbatim:
            text = re.sub(r"\s+", " ", text)
            text = text.lstrip() if self._end.endswith((" ", "\n")) else text
        self._add(text)

    def _add(self, text: str) -> None:
        if text:
            self.parts.append(text)
            self.length += len(text)
            self._end = (self._end + text[-2:])[-2:]


def _result(text: str, headings: list[Heading], unit: str, starts: list[int], *, truncated: bool) -> dict[str, Any]:
    if not text.strip():
        raise LeftOutError("no text")
    return {"text": text, "headings": headings, "unit": unit, "starts": starts, "truncated": truncated}


def _limit_resources() -> None:
    with suppress(ImportError, OSError, ValueError):  # there are no such limits on Windows, and others may be lower
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
