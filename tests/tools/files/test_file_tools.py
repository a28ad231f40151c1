"""What the tools for files list, read, find, write and change, and how they say that something cannot be done."""

import codecs
import errno
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.tools import BaseTool, ToolException

from plan_execute.tools import file_tools
from plan_execute.tools.files.file_tools import MAX_FOUND, MAX_LISTED, MAX_OUTPUT
from plan_execute.tools.files.folder import MAX_FILE
from plan_execute.tools.files.text import replace_once
from tests.drawn import drawn


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "src" / "deep").mkdir(parents=True)
    (folder / "notes.md").write_text("# Notes\n\nBuy milk.\n")
    (folder / "src" / "a.py").write_text("print('Hello')\n")
    (folder / "src" / "deep" / "b.py").write_text("x = 'hello'\n")
    (folder / ".env").write_text("KEY=canary\n")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("canary\n")
    return folder


@pytest.fixture(params=["openat", "paths"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also as on a system that opens nothing relative to a folder."""
    if request.param == "paths":
        monkeypatch.setattr("plan_execute.tools.files.opening.HAS_OPENAT", False)


def tools_of(root: Path, **options: Any) -> dict[str, BaseTool]:
    return {tool.name: tool for tool in file_tools(root, **options)}


def call(root: Path, name: str, **args: Any) -> str:
    return str(tools_of(root, write=True)[name].invoke(args))


def test_tools_that_write_are_there_only_if_wanted(root: Path) -> None:
    reading = ["list_files", "read_file", "find_in_files"]
    assert [(name, tool.metadata) for name, tool in tools_of(root).items()] == [
        (n, {"effect": "read"}) for n in reading
    ]
    writing = tools_of(root, write=True)
    assert list(writing) == [*reading, "write_file", "edit_file"]
    assert writing["write_file"].metadata == {"effect": "effect", "idempotent": True}
    assert writing["edit_file"].metadata == {"effect": "effect"}


def test_folder_that_is_none_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match=r"There is no folder '.*notes\.md': give one"):
        file_tools(root / "notes.md")


def test_files_are_listed_by_folder_and_pattern(root: Path, either_way: None) -> None:
    left_out = "\n(Left out: 2 hidden.)"
    everything = "notes.md (19 bytes)\nsrc/a.py (15 bytes)\nsrc/deep/b.py (12 bytes)"
    assert call(root, "list_files") == everything + left_out
    assert call(root, "list_files", folder="./src/") == "src/a.py (15 bytes)\nsrc/deep/b.py (12 bytes)"
    for pattern in ("a.py", "src/a*", "**/a.py", "./src/a.py"):
        assert call(root, "list_files", pattern=pattern) == "src/a.py (15 bytes)" + left_out
    assert call(root, "list_files", folder="src", pattern="deep/") == "src/deep/b.py (12 bytes)"
    assert call(root, "list_files", folder="src", pattern="*.md") == "There is no such file."


def test_hidden_files_are_left_out_unless_they_are_wanted(root: Path, either_way: None) -> None:
    for path in (".env", ".git/config", "src/../.env", "./.env"):
        with pytest.raises(ToolException, match=r"is hidden: files and folders whose names begin with a dot|leads out"):
            call(root, "read_file", path=path)
        with pytest.raises(ToolException):
            call(root, "write_file", path=path, text="x")
    assert call(root, "find_in_files", text="canary") == "Nothing found in 3 files.\n(Left out: 2 hidden.)"
    with pytest.raises(ToolException) as refusal:
        call(root, "read_file", path="env")
    assert ".env" not in str(refusal.value)
    every = tools_of(root, hidden=True)
    assert every["read_file"].invoke({"path": ".env"}) == "KEY=canary\n"
    assert every["find_in_files"].invoke({"text": "canary"}) == ".env:1: KEY=canary\n.git/config:1: canary"
    assert "Hidden" in tools_of(root)["list_files"].description
    assert "Hidden" not in every["list_files"].description


def test_files_are_read_whole_or_in_parts(root: Path, either_way: None) -> None:
    assert call(root, "read_file", path="notes.md") == "# Notes\n\nBuy milk.\n"
    assert call(root, "read_file", path="notes.md", start_line=3) == "(Lines 3 to 3 of 3.)\nBuy milk."
    (root / "long.txt").write_text("".join(f"line {number}\n" for number in range(1, 10_001)))
    first = call(root, "read_file", path="long.txt")
    note, shown = first.split("\n", 1)
    last = shown.count("\n") + 1
    assert note == f"(Lines 1 to {last:,} of 10,000; read on with start_line={last + 1}.)"
    assert shown.endswith(f"line {last}")
    assert len(first) < MAX_OUTPUT + 100
    rest = call(root, "read_file", path="long.txt", start_line=last + 1)
    assert rest.split("\n")[1] == f"line {last + 1}"
    (root / "wide.txt").write_text(f"one\n{'x' * 50_000}\nthree")
    assert call(root, "read_file", path="wide.txt").endswith("one")
    wide = call(root, "read_file", path="wide.txt", start_line=2)
    assert wide.startswith("(Lines 2 to 2 of 3; read on with start_line=3.)\nxxx")
    assert len(wide) < MAX_OUTPUT + 200
    (root / "empty.txt").write_text("")
    assert call(root, "read_file", path="empty.txt") == "(The file is empty.)"


@pytest.mark.parametrize(
    ("tool", "args", "said"),
    [
        ("read_file", {"path": "src/b.py"}, r"There is no file 'src/b\.py'\. Did you mean 'src/a\.py'\? list_files"),
        ("read_file", {"path": "nowhere/b.py"}, r"There is no file 'nowhere/b\.py'\. list_files shows what there is\."),
        ("read_file", {"path": "src"}, "'src' is a folder, not a file: list_files"),
        ("read_file", {"path": ""}, "No file is named"),
        ("read_file", {"path": "notes.md/x"}, "'notes.md/x' could not be read: a part of it is no folder"),
        ("read_file", {"path": "notes.md", "start_line": 4}, "There is no line 4: the file has 3"),
        ("read_file", {"path": "notes.md", "start_line": 0}, "There is no line 0"),
        ("read_file", {"path": "../x"}, "leads out of the folder"),
        ("read_file", {"path": "a\u202eb"}, r"The path 'a\\u202eb' has invisible characters"),
        ("read_file", {"path": "x" * 2_000}, "The path has 2,000 characters; at most 1,000"),
        ("read_file", {"path": "x" * 300}, "could not be read: a name is too long"),
        ("read_file", {"path": "/".join("x" * 50)}, "has 50 parts; at most 40"),
        ("list_files", {"folder": "nowhere"}, "'nowhere' could not be listed: there is no such file or folder"),
        ("list_files", {"folder": "notes.md"}, "could not be listed: a part of it is no folder, or a symbolic link"),
        ("list_files", {"pattern": "*" * 300}, "The pattern has 300 characters"),
        ("find_in_files", {"text": " "}, "Search for 1 to 300 characters that stand on one line"),
        ("find_in_files", {"text": "a\nb"}, "Search for 1 to 300 characters that stand on one line"),
        ("write_file", {"path": "", "text": "x"}, "No file is named"),
        ("write_file", {"path": "src", "text": "x"}, "'src' is a folder"),
        ("write_file", {"path": "notes.md/x", "text": "x"}, "could not be written: a part of it is no folder"),
        ("write_file", {"path": "x.md", "text": "a\0b"}, "The text has a NUL character"),
        ("write_file", {"path": "x.md", "text": "a\ud800b"}, "The text has half of a surrogate pair"),
        ("write_file", {"path": "x.md", "text": "é" * (MAX_FILE // 2 + 1)}, "The text has 10,000,002 bytes; at most"),
        ("write_file", {"path": "src\\x.md", "text": "x"}, "could not be written: there is no such file or folder"),
        ("edit_file", {"path": "x.md", "old": "a", "new": "b"}, "There is no file 'x.md'"),
        ("edit_file", {"path": "notes.md", "old": "", "new": "b"}, "This text does not occur in the file"),
        ("edit_file", {"path": "notes.md", "old": "Milk", "new": "b"}, "This text does not occur in the file"),
        ("edit_file", {"path": "notes.md", "old": "o", "new": "\0"}, "NUL character"),
        ("edit_file", {"path": "notes.md", "old": "tt", "new": "b"}, "This text occurs more than once"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_a_sentence(
    root: Path, either_way: None, tool: str, args: dict[str, Any], said: str
) -> None:
    (root / "notes.md").write_text("# Notes\n\nBuy ttt.\n" if "once" in said else "# Notes\n\nBuy milk.\n")
    before = (root / "notes.md").read_bytes()
    with pytest.raises(ToolException, match=said) as refusal:
        call(root, tool, **args)
    assert str(root) not in str(refusal.value)
    assert len(str(refusal.value)) < 700
    assert (root / "notes.md").read_bytes() == before
    assert sorted(os.listdir(root)) == [".env", ".git", "notes.md", "src"]


def test_lines_are_found_whatever_their_case(root: Path, either_way: None) -> None:
    assert call(root, "find_in_files", text="HELLO") == (
        "src/a.py:1: print('Hello')\nsrc/deep/b.py:1: x = 'hello'\n(Left out: 2 hidden.)"
    )
    assert (
        call(root, "find_in_files", text="hello", pattern="b.py")
        == "src/deep/b.py:1: x = 'hello'\n(Left out: 2 hidden.)"
    )
    (root / "wide.txt").write_text("x" * 5_000 + "needle" + "y" * 5_000)
    found = call(root, "find_in_files", text="needle")
    assert "needle" in found
    assert len(found) < 500


def test_search_has_limits(root: Path) -> None:
    (root / "many.txt").write_text("needle\n" * 1_000)
    found = call(root, "find_in_files", text="needle").split("\n")
    assert len(found) == MAX_FOUND + 1
    assert found[-1].endswith(f"Stopped after {MAX_FOUND} lines: search for more of the line, or in fewer files.)")
    slow = tools_of(root, seconds=0)
    assert slow["find_in_files"].invoke({"text": "needle"}) == (
        "Nothing found in 0 files.\n(Stopped when the time was up: name a subfolder.)"
    )
    assert "Stopped when the time was up" in slow["list_files"].invoke({})


def test_only_text_is_read_in_utf_8_or_with_a_mark_of_utf_16(root: Path) -> None:
    for codec, mark in [
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
    ]:
        (root / "a.txt").write_bytes(mark + "Größe\r\nzwei".encode(codec))
        assert call(root, "read_file", path="a.txt") == "Größe\nzwei"
        call(root, "edit_file", path="a.txt", old="Größe\nz", new="Maß\nd\nz")
        assert (root / "a.txt").read_bytes() == mark + "Maß\r\nd\r\nzwei".encode(codec)
    for content in (
        b"caf\xe9",
        b"\x89PNG\r\n\x1a\n\0",
        "x".encode("utf-16-le"),
        "x".encode("utf-32"),
        codecs.BOM_UTF16_LE + b"x",
    ):
        (root / "a.txt").write_bytes(content)
        for tool, args in (("read_file", {}), ("edit_file", {"old": "x", "new": "y"})):
            with pytest.raises(ToolException, match=r"'a\.txt' is no text in UTF-8, or in UTF-16 with a byte order"):
                call(root, tool, path="a.txt", **args)
        assert call(root, "find_in_files", text="x", pattern="a.txt").endswith("1 without text in UTF-8.)")


def test_invisible_characters_are_spelled_out(root: Path) -> None:
    (root / "odd.txt").write_text("a\u202eb\tc\U000e0041 needle\x1b[2J\r")
    assert call(root, "read_file", path="odd.txt") == "a\\u202eb\tc\\U000e0041 needle\\x1b[2J\\x0d"
    assert call(root, "find_in_files", text="needle", pattern="*.txt").startswith(
        "odd.txt:1: a\\u202eb\tc\\U000e0041 needle\\x1b"
    )


def test_odd_names_are_spelled_out_and_can_be_used_so(root: Path, either_way: None) -> None:
    names = ["line\nend.txt", "r\u202etl.txt", "caf\udce9.txt", "\U000e0041tag.txt", "back\\slash.txt"]
    for name in names:
        (root / name).write_text("needle")
    lines = call(root, "list_files", pattern="*.txt").split("\n")[:-1]
    assert len(lines) == len(names)
    for line in lines:
        path = line.removesuffix(" (6 bytes)")
        assert path.isprintable()
        assert call(root, "read_file", path=path) == "needle"
        assert call(root, "edit_file", path=path, old="needle", new=path).startswith("Replaced the passage in ")
    assert {(root / name).read_text() for name in names} == {line.removesuffix(" (6 bytes)") for line in lines}
    found = call(root, "find_in_files", text="TXT", pattern="*.txt").split("\n")[:-1]
    assert len(found) == len(names)
    assert sorted(os.listdir(root)) == sorted([*names, ".env", ".git", "notes.md", "src"])


def test_files_are_written_whole_with_the_folders_above_them(root: Path, either_way: None) -> None:
    assert call(root, "write_file", path="new/deep/a.md", text="é\r\n") == "Created new/deep/a.md, 4 bytes."
    assert (root / "new/deep/a.md").read_bytes() == "é\r\n".encode()
    umask = os.umask(0)
    os.umask(umask)
    assert (root / "new/deep/a.md").stat().st_mode & 0o777 == 0o666 & ~umask
    (root / "notes.md").chmod(0o640)
    assert call(root, "write_file", path="notes.md", text="x") == "Replaced notes.md, 1 bytes."
    assert call(root, "edit_file", path="notes.md", old="x", new="y") == "Replaced the passage in notes.md."
    assert ((root / "notes.md").read_text(), (root / "notes.md").stat().st_mode & 0o777) == ("y", 0o640)
    assert os.listdir(root / "new/deep") == ["a.md"]


def test_file_that_is_read_only_is_not_replaced(root: Path, either_way: None) -> None:
    (root / "notes.md").chmod(0o440)
    with pytest.raises(
        ToolException, match=r"'notes\.md' could not be written: this is not permitted; it may be read-only\."
    ):
        call(root, "write_file", path="notes.md", text="x")
    assert (root / "notes.md").read_text() == "# Notes\n\nBuy milk.\n"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EROFS, "this is not permitted; it may be read-only"),
        (errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_file_stays_what_it_was_where_writing_fails(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str, function: str
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(number, os.strerror(number), str(root))

    monkeypatch.setattr(os, function, fail)
    for tool, args in (("write_file", {"text": "x"}), ("edit_file", {"old": "milk", "new": "x"})):
        with pytest.raises(ToolException, match=rf"^'notes\.md' could not be written: {said}\.$"):
            call(root, tool, path="notes.md", **args)
    assert (root / "notes.md").read_text() == "# Notes\n\nBuy milk.\n"
    assert sorted(os.listdir(root)) == [".env", ".git", "notes.md", "src"]


PIECES = st.lists(st.sampled_from(["a", "b", "\n", "\r\n", "\r", "é", "😀"]), max_size=8).map("".join)


def expected_of(text: str, old: str, new: str) -> list[str]:
    """What may come of an edit, by trying every part of the text; none begins or ends within a line end."""
    whole = [place for place in range(len(text) + 1) if text[max(0, place - 1) : place + 1] != "\r\n"]
    wanted, given = (part.replace("\r\n", "\n") for part in (old, new))
    found = [(i, j) for i in whole for j in whole if i < j and text[i:j].replace("\r\n", "\n") == wanted]
    crlf = text.count("\r\n")
    lf = text.count("\n") - crlf
    ends = ["\r\n"] * (crlf >= max(1, lf)) + ["\n"] * (lf >= crlf)
    return [text[:i] + given.replace("\n", end) + text[j:] for i, j in found for end in ends] if len(found) == 1 else []


@given(PIECES, PIECES, PIECES, PIECES, st.sampled_from([(b"", "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le")]))
def test_edit_changes_one_passage_and_no_other_byte(
    before: str, old: str, after: str, new: str, encoding: tuple[bytes, str]
) -> None:
    mark, codec = encoding
    text = before + old + after
    expected = [mark + result.encode(codec) for result in expected_of(text, old, new)]
    with pytest.raises(ToolException) if not expected else nullcontext():
        assert replace_once(mark + text.encode(codec), text, old, new) in expected
    drawn("passages edited, with all other bytes as they were")


def test_edits_of_several_threads_are_all_kept(root: Path) -> None:
    (root / "a.txt").write_text("".join(f"<{number}>" for number in range(40)))
    edit = tools_of(root, write=True)["edit_file"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: edit.invoke({"path": "a.txt", "old": f"<{n}>", "new": f"[{n}]"}), range(40)))
    assert (root / "a.txt").read_text() == "".join(f"[{number}]" for number in range(40))


def test_many_files_and_huge_ones_are_borne(root: Path) -> None:
    for number in range(10_000):
        (root / "src" / f"{number:05}.txt").touch()
    with open(root / "huge.bin", "wb") as file:
        file.truncate(10 * 1024**3)
    listed = call(root, "list_files").split("\n")
    assert len(listed) == MAX_LISTED + 2
    assert "huge.bin (10,737,418,240 bytes)" in listed
    assert listed[-2] == f"({10_004 - MAX_LISTED:,} more files: name a subfolder or a pattern.)"
    with pytest.raises(ToolException, match=r"'huge\.bin' is too large: at most 10,000,000 bytes are read\."):
        call(root, "read_file", path="huge.bin")
    assert call(root, "find_in_files", text="milk").startswith(
        "notes.md:3: Buy milk.\n(Left out: 2 hidden, 1 too large"
    )


def test_file_that_changes_between_a_look_and_the_reading_is_noticed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, opened, path = os.fstat, os.open, root / "notes.md"

    def grow(handle: int) -> os.stat_result:
        before = status(handle)
        os.truncate(path, MAX_FILE + 1)
        return before

    def swap(name: str, flags: int, *, dir_fd: int | None = None) -> int:
        if name == "notes.md":
            path.unlink()
            os.mkfifo(path)
        return opened(name, flags, dir_fd=dir_fd)

    for function, instead, said in (("fstat", grow, "is too large"), ("open", swap, "is a pipe, a socket or a device")):
        path.write_text("small")
        with monkeypatch.context() as patched:
            patched.setattr(os, function, instead)
            with pytest.raises(ToolException, match=said):
                call(root, "read_file", path="notes.md")


def test_deep_folders_are_borne(root: Path) -> None:
    deep = root
    for _ in range(45):
        deep /= "d"
    deep.mkdir(parents=True)
    (deep / "a.txt").touch()
    assert call(root, "list_files", pattern="*.txt").endswith("(Left out: 2 hidden, 1 too deep.)")
