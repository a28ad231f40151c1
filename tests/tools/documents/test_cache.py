"""Indexes of large folders: what is kept, what is read again, and what happens where nothing can be kept."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from langchain_core.tools import ToolException

from plan_execute.tools.documents import Library, cache
from plan_execute.tools.documents.index import VERSION

PROGRAM = """
import os, signal, sys
from plan_execute.tools.documents import cache, library, update
cache.KEPT_FROM = 0
update.BATCH = 5
read = update.read_file
def read_some(*args):
    read_some.count += 1
    if read_some.count > int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return read(*args)
read_some.count = 0
update.read_file = read_some
print(len(library.Library(sys.argv[1]).names), read_some.count)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "KEPT_FROM", 0)
    root = tmp_path / "root"
    root.mkdir()
    for number in range(12):
        (root / f"{number:02}.md").write_text(f"# Rule\n\nThe number is n{number}.")
    return root


def _swap(file: Path, text: str) -> None:
    """Change a file in a way that nothing tells, so that only who reads it again knows."""
    before = file.stat()
    file.write_text(text.ljust(before.st_size))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _kept(folder: Path) -> Path:
    [kept] = (folder.parent / "cache" / "plan-execute" / "documents").glob("*.sqlite")
    return kept


def test_only_what_changed_is_read_again(folder: Path) -> None:
    Library(folder)
    _swap(folder / "02.md", "Not read again.")
    (folder / "03.md").write_text("Now it is m3, longer.")
    (folder / "04.md").unlink()
    (folder / "05.md").rename(folder / "five.md")
    _swap(folder / "06.md", "Now it is m6.")
    os.utime(folder / "06.md", ns=(1, 1))
    _swap(folder / "07.md", "Now it is m7.")
    shutil.copy2(folder / "07.md", folder / "copy")
    (folder / "copy").replace(folder / "07.md")
    library = Library(folder)
    assert [library.search(word)[0].document for word in ("n2", "m3", "n5", "m6", "m7")] == [
        "02.md", "03.md", "five.md", "06.md", "07.md",
    ]  # fmt: skip
    assert library.names == [f"{number:02}.md" for number in range(12) if number not in {4, 5}] + ["five.md"]
    with pytest.raises(ToolException, match="Nothing found"):
        library.search("n3 n4 n6 n7 again")


def test_words_of_changed_files_are_forgotten(folder: Path) -> None:
    Library(folder)
    for number in range(12):
        (folder / f"{number:02}.md").write_text("Another number." + " Nothing else." * 20)
    library = Library(folder)
    with pytest.raises(ToolException, match="Nothing found"):
        library.search("n7 rule")
    assert len(library.search("number")) == 4, "what is forgotten takes no place"


def test_kept_index_is_the_users_own(folder: Path) -> None:
    library = Library(folder)
    kept = _kept(folder)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o077 for path in kept.parent.iterdir()} == {0}
    assert library.search("n7")


def test_small_folders_are_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "KEPT_FROM", 10_000)
    assert Library(folder).search("n7")
    assert not (folder.parent / "cache").exists()


@pytest.mark.parametrize("damage", ["text", "cut", "zeros", "end", "older", "empty", "folder"])
def test_damaged_and_older_indexes_are_built_anew(folder: Path, damage: str) -> None:
    Library(folder)
    kept = _kept(folder)
    content = kept.read_bytes()
    if damage == "older":
        with closing(sqlite3.connect(kept)) as database:
            database.execute(f"PRAGMA user_version = {VERSION - 1}")
    elif damage == "folder":
        kept.unlink()
        kept.mkdir()
    else:
        kept.write_bytes(
            {
                "text": b"This is no database. " * 500,
                "cut": content[: len(content) // 2],
                "zeros": content[:4_096] + bytes(len(content) - 4_096),
                "end": content[:-8_192] + bytes(8_192),
                "empty": b"",
            }[damage]
        )
    _swap(folder / "02.md", "Read again.")
    library = Library(folder)
    assert library.search("again")[0].document == "02.md"
    assert library.search("n7")[0].document == "07.md"


def test_without_a_cache_directory_the_index_is_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.parent / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parent / "file"))
    assert Library(folder).search("n7")[0].document == "07.md"
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    assert Library(folder).search("n7")[0].document == "07.md"


def test_killed_in_the_middle_it_goes_on_where_it_was(folder: Path) -> None:
    with _run(folder, 8) as ended:
        assert ended.wait() == -signal.SIGKILL
    with _run(folder, 100) as one, _run(folder, 100) as other:
        answers = sorted(each.communicate()[0] for each in (one, other))
    assert answers == ["12 0\n", "12 7\n"], "the first batch of five was written, the rest read once"


def _run(folder: Path, most: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, folder, str(most)], stdout=subprocess.PIPE, text=True)
