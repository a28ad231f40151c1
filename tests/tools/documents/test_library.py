"""What is found in a folder of documents, and that nothing outside it can be reached."""

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.tools import BaseTool, ToolException

from plan_execute.tools.documents import Library, document_tools
from plan_execute.tools.documents.kinds import MAX_FILE
from plan_execute.tools.documents.passages import MAX_PART, MAX_PASSAGE

SHIPPING = """\
# Shipping

General information.

## Canada

A parcel to Canada costs 18 dollars.

## Japan

A parcel to Japan costs 31 dollars.
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "staff").mkdir(parents=True)
    (root / "shipping.md").write_text(SHIPPING)
    (root / "staff" / "holidays.txt").write_text("Everyone has 27 days of holiday.")
    (root / "returns.rst").write_text("Returning\n=========\n\nGoods go back within 45 days.\n")
    (root / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "secret.txt").write_text("canary")
    (tmp_path / "root-evil").mkdir()
    (tmp_path / "root-evil" / "secret.txt").write_text("canary")
    return root


def _tools(folder: Path) -> tuple[BaseTool, BaseTool]:
    search, read = document_tools(folder)
    return search, read


def test_search_returns_the_best_matching_section(folder: Path) -> None:
    search, _ = _tools(folder)
    found = search.invoke({"query": "parcels to Canada"})
    assert found.startswith("[shipping.md, line 7: Canada]\nA parcel to Canada costs 18 dollars.")


def test_headings_are_listed_only_where_the_documents_are_vouched_for(folder: Path) -> None:
    (folder / "long.md").write_text("".join(f"# Heading {number}\n\nText.\n\n" for number in range(50)))
    search, _ = document_tools(folder, outline=True)
    assert "shipping.md (Shipping; Canada" in search.description
    assert "staff/holidays.txt (holidays)" in search.description
    assert "Heading 1; " in search.description
    assert len(search.description) < 600
    assert "Canada;" not in _tools(folder)[0].description


def test_words_are_stemmed_and_may_be_missing(folder: Path) -> None:
    library = Library(folder)
    assert library.search("holidays xyzzy")[0].document == "staff/holidays.txt"
    assert library.search("return")[0] == ("returns.rst", "Returning", "Goods go back within 45 days.", "line 4")


def test_nothing_found_says_what_to_try(folder: Path) -> None:
    search, _ = _tools(folder)
    with pytest.raises(ToolException, match=r"Nothing found for 'xyzzy'\. Try synonyms, .* returns\.rst, ship"):
        search.invoke({"query": "xyzzy"})


def test_documents_are_read_by_name(folder: Path) -> None:
    _, read = _tools(folder)
    assert read.invoke({"name": "shipping.md"}) == SHIPPING
    assert read.invoke({"name": "SHIPPING"}) == SHIPPING
    assert read.invoke({"name": "holidays.txt"}) == "Everyone has 27 days of holiday."
    with pytest.raises(ToolException, match=r"no document 'shiping\.md'\. Did you mean 'shipping\.md'\?"):
        read.invoke({"name": "shiping.md"})


def test_planner_learns_the_names_from_the_description(folder: Path) -> None:
    search, _ = _tools(folder)
    assert "returns.rst, shipping.md, staff/holidays.txt" in search.description
    assert search.metadata == {"effect": "read", "languages": {"query": "keywords"}}


@pytest.mark.parametrize(
    "name",
    ["../secret.txt", "/etc/passwd", "../root-evil/secret.txt", "staff/../../secret.txt", "out.txt", "secret.txt",
     "shipping.md\x00", "linked/secret.txt", "out", "..", "", "picture.png", "~/secret.txt", "x" * 100_000],
)  # fmt: skip
def test_nothing_outside_the_folder_is_read(folder: Path, name: str) -> None:
    (folder / "out.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "linked").symlink_to(folder.parent / "root-evil")
    _, read = _tools(folder)
    with pytest.raises(ToolException, match="There is no document") as refusal:
        read.invoke({"name": name})
    assert len(str(refusal.value)) < 500
    with pytest.raises(ToolException, match="Nothing found"):
        Library(folder).search("canary")


@given(st.text(max_size=40) | st.lists(st.sampled_from(["..", "/", "secret.txt", "root-evil", "staff"])).map("/".join))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_no_name_reads_a_file_outside(folder: Path, name: str) -> None:
    with suppress(ToolException):
        assert "canary" not in Library(folder).read(name)


@given(st.text(max_size=60) | st.text("\"'*():^-+{}AND OR NOT NEAR a", max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
def test_any_query_is_safe(folder: Path, query: str) -> None:
    with suppress(ToolException):
        Library(folder).search(query)


def test_a_link_to_the_folder_itself_is_followed(folder: Path) -> None:
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert "shipping.md" in Library(link).names


def test_odd_files_do_no_harm(folder: Path) -> None:
    os.mkfifo(folder / "pipe.txt")
    (folder / "folder.md").mkdir()
    (folder / "latin.txt").write_bytes(b"caf\xe9 \xff prices")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.txt")).write_text("A name that is not UTF-8.")
    library = Library(folder)
    assert "caf?.txt" in library.names
    assert library.search("prices")[0].document == "latin.txt"
    assert library.read("caf?.txt") == "A name that is not UTF-8."
    "".join([*library.names, library.read("latin.txt")]).encode()


def test_long_documents_come_in_bounded_parts(folder: Path) -> None:
    (folder / "long.txt").write_text("word " * (MAX_FILE // 4))
    library = Library(folder)
    first = library.read("long.txt")
    assert len(first) < MAX_PART + 50
    assert first.endswith("(Part 1 of 201.)")
    assert "(Truncated here: the file is longer" in library.read("long.txt", 201)
    assert all(len(passage.text) <= MAX_PASSAGE for passage in library.search("word"))
    with pytest.raises(ToolException, match="no part 202: the document has 201 parts"):
        library.read("long.txt", 202)


def test_a_folder_without_documents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no folder"):
        document_tools(tmp_path / "missing")
    with pytest.raises(ValueError, match=r"contains no document that can be read. Give files that end in \.md, "):
        document_tools(tmp_path)


def test_threads_search_together(folder: Path) -> None:
    library = Library(folder)
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.extend(library.search("Canada")[0].heading for _ in range(50)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["Canada"] * 200
