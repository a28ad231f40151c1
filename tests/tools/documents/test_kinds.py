"""What is read of PDF, Word, HTML and notebooks, and what is said of files that are left out."""

import json
from io import BytesIO
from pathlib import Path

import pypdf
import pytest
from langchain_core.tools import BaseTool, ToolException

from plan_execute.tools.documents import Library, document_tools, update
from plan_execute.tools.messages import INSTALL_DOCUMENTS
from tests.tools.documents.files import make_docx, make_pdf, paragraph, table

HTML = """<html><head><meta charset="{charset}"><title>Title</title><script>canary()</script>
<style>.gone {{ display: none }}</style></head><body><nav>Menu</nav><h1>Hand<b>book</b></h1>
<p>Everyone has   27 days, says the café.</p><p hidden>canary</p><p class="gone">canary</p><h2>Travel</h2>
<ul><li>First class</li><li>Never by <i>air</i></li></ul><table><tr><th>City</th><th>Fee</th></tr><tr><td>Oslo</td>
<td>90</td></tr></table><pre>one
  two</pre><!-- canary --></body></html>"""
NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": ["# Sales\n", "\n", "By region.\n", "## Norway\n"]},
        {
            "cell_type": "code",
            "source": "# no heading\ntotal()",
            "outputs": [
                {"output_type": "stream", "text": ["total ", "4711\n"]},
                {"output_type": "execute_result", "data": {"text/plain": "Decimal 12", "image/png": "canary"}},
            ],
        },
    ]
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kinds")
    (root / "rules.pdf").write_bytes(make_pdf("Returns\nGoods go back within 45 days.", "", "Parcels cost 18 dollars."))
    body = paragraph("Contract", "Heading1") + paragraph("It begins in May.") + paragraph("Duration", "Heading2")
    body += "<w:p><w:r><w:rPr><w:vanish/></w:rPr><w:t>canary</w:t></w:r></w:p>"
    body += paragraph("It lasts three years.") + table(("Town", "Price"), ("Rome", "80"))
    (root / "contract.docx").write_bytes(make_docx(body))
    (root / "handbook.html").write_text(HTML.format(charset="utf-8"), "utf-8")
    (root / "latin.htm").write_text(HTML.format(charset="windows-1252"), "cp1252")
    (root / "sales.ipynb").write_text(json.dumps(NOTEBOOK))
    (root / "guide.adoc").write_text("= Guide\n\n== Boots\n\nWax them.\n")
    (root / "page.mdx").write_text("import A from 'a'\n\n# Tents\n\nDry them.\n")
    (root / "scanned.pdf").write_bytes(make_pdf(""))
    (root / "locked.pdf").write_bytes(_encrypted("secret"))
    (root / "open.pdf").write_bytes(_encrypted(""))
    (root / "locked.docx").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    (root / "broken.pdf").write_bytes(b"%PDF-1.4\nnothing")
    (root / "broken.ipynb").write_text("{}")
    (root / "binary.txt").write_bytes(bytes(range(32)) * 50)
    (root / "empty.md").write_text(" \n")
    (root / "old.doc").write_bytes(b"x")
    return root


@pytest.fixture(scope="module")
def tools(folder: Path) -> list[BaseTool]:
    return document_tools(folder)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("goods back", "[rules.pdf, page 1: rules]\nReturns\nGoods go back within 45 days."),
        ("parcels cost", "[rules.pdf, page 3: rules]\nParcels cost 18 dollars."),
        ("owner only", "[open.pdf, page 1: open]\nOnly its owner may print it."),
        ("begins", "[contract.docx: Contract]\nIt begins in May."),
        ("lasts Rome", "[contract.docx: Duration]\nIt lasts three years.\n\nTown | Price\nRome | 80"),
        ("handbook everyone days", "[handbook.html: Handbook]\nEveryone has 27 days, says the café."),
        ("handbook.html travel", "[handbook.html: Travel]\n- First class\n- Never by air\n\nCity | Fee\nOslo | 90"),
        ("region", "[sales.ipynb, cell 1: Sales]\nBy region."),
        ("4711", "[sales.ipynb, cell 2: Norway]\n# no heading\ntotal()\ntotal 4711\n\nDecimal 12"),
        ("boots wax", "[guide.adoc, line 5: Boots]\nWax them."),
        ("tents dry", "[page.mdx, line 5: Tents]\nDry them."),
    ],
)  # fmt: skip
def test_passages_say_where_they_stand(tools: list[BaseTool], query: str, found: str) -> None:
    assert found in tools[0].invoke({"query": query}).split("\n\n[")[0]


def test_hidden_text_scripts_and_pictures_are_gone(tools: list[BaseTool]) -> None:
    with pytest.raises(ToolException, match="Nothing found"):
        tools[0].invoke({"query": "canary"})
    assert "café" in tools[1].invoke({"name": "latin.htm"})
    assert tools[1].invoke({"name": "handbook.html"}).endswith("Oslo | 90\n\none\n  two\n")


def test_pages_are_counted_where_a_pdf_is_read(tmp_path: Path, tools: list[BaseTool]) -> None:
    assert tools[1].invoke({"name": "rules"}).endswith("(Pages 1 to 3 of 3.)")
    (tmp_path / "long.pdf").write_bytes(make_pdf(*["\n".join([f"Line {n}"] * 700) for n in range(4)]))
    library = Library(tmp_path / "long.pdf")
    first, second = library.read("long"), library.read("long", 2)
    assert first.endswith("\nLine 2\n\n(Part 1 of 2, pages 1 to 3 of 4.)")
    assert second.endswith("\n(Part 2 of 2, pages 3 to 4 of 4.)")


def test_what_was_left_out_is_said(folder: Path, tools: list[BaseTool]) -> None:
    said = (
        "Left out: 1 .docx, 1 .pdf (encrypted); 1 .md, 1 .pdf (no text); 1 .doc (not supported); "
        "1 .ipynb, 1 .pdf, 1 .txt (unreadable)."
    )
    assert tools[0].description.endswith(said)
    assert (tools[0].metadata or {})["left_out"] == said


def test_without_the_extra_the_command_that_installs_it_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update, "find_spec", lambda name: None)
    library = Library(folder)
    assert library.left_out["not installed", ".pdf"] == 5
    assert f"5 .pdf (needs {INSTALL_DOCUMENTS})" in document_tools(folder)[0].description
    assert "guide.adoc" in library.names
    with pytest.raises(ValueError, match=r"contains no document that can be read\. Left out: 1 \.pdf \(needs pip"):
        Library(folder / "rules.pdf")


def test_more_files_than_are_read_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update, "MAX_FILES", 3)
    for number in range(5):
        (tmp_path / f"{number}.md").write_text("text")
    assert Library(tmp_path).left_out == {("too many files", ".md"): 2}


def test_one_document_is_enough(folder: Path) -> None:
    search, read = document_tools(folder / "guide.adoc")
    assert search.invoke({"query": "boots"}).startswith("[guide.adoc, line 5: Boots]")
    assert "The documents are guide.adoc." in search.description
    with pytest.raises(ToolException, match="There is no document"):
        read.invoke({"name": "page.mdx"})
    (folder.parent / "a.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"contains no document that can be read\. Give files that end in \.md"):
        document_tools(folder.parent / "a.png")


def _encrypted(password: str) -> bytes:
    writer = pypdf.PdfWriter(clone_from=BytesIO(make_pdf("Only its owner may print it.")))
    writer.encrypt(password, "owner", algorithm="AES-256")
    target = BytesIO()
    writer.write(target)
    return target.getvalue()
