"""Nothing outside the folder is read or written, whatever path a model gives and whatever is swapped meanwhile."""

import itertools
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.tools import BaseTool, ToolException

from plan_execute.tools import file_tools
from tests.drawn import drawn

CANARY = "canary"


class World(NamedTuple):
    """A folder for the tools, in another one whose files are none of their business."""

    outside: Path
    tools: dict[str, BaseTool]

    @property
    def root(self) -> Path:
        return self.outside / "root"

    def state(self) -> dict[str, Any]:
        """All that is outside the root, and the links inside: kinds, modes, times, contents."""
        found: dict[str, Any] = {}
        for folder, subfolders, files in os.walk(self.outside):
            for name in (*subfolders, *files):
                path = Path(folder, name)
                status = path.lstat()
                if path.is_symlink():
                    found[str(path)] = os.readlink(path)
                elif path == self.root or self.root in path.parents:
                    continue
                elif path.is_file():
                    found[str(path)] = (status.st_mode, status.st_mtime_ns, status.st_ino, path.read_bytes())
                else:
                    found[str(path)] = (status.st_mode, status.st_mtime_ns)
        return found

    def try_all(self, path: str) -> None:
        """Use a path in each tool, and see to it that nothing comes back from outside."""
        for name, args in (
            ("read_file", {"path": path}),
            ("list_files", {"folder": path}),
            ("list_files", {"pattern": path}),
            ("find_in_files", {"text": "a", "pattern": path}),
            ("write_file", {"path": path, "text": "written"}),
            ("edit_file", {"path": path, "old": "can", "new": "written"}),
        ):
            try:
                said = str(self.tools[name].invoke(args))
            except ToolException as refusal:
                said = str(refusal)
                assert len(said) < 3_500
                assert str(self.outside) not in said or str(self.outside) in path
            assert CANARY not in said.replace(path, "")
            said.encode()


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk, thousands of times."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(params=["openat", "paths"])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Also as on a system that opens nothing relative to a folder."""
    if request.param == "paths":
        monkeypatch.setattr("plan_execute.tools.files.opening.HAS_OPENAT", False)
    yield from make_world(tmp_path)


def make_world(folder: Path) -> Iterator[World]:
    outside = folder / "outside"
    root = outside / "root"
    (root / "src").mkdir(parents=True)
    (root / "src" / "a.py").write_text("print('a')\n")
    for place in (outside, outside / "root-evil", outside / "rootless"):
        place.mkdir(exist_ok=True)
        (place / "secret.txt").write_text(CANARY)
    (root / "link").symlink_to(outside)
    (root / "link.txt").symlink_to(outside / "secret.txt")
    (root / "relative").symlink_to("../root-evil")
    (root / "dangling.txt").symlink_to(outside / "new.txt")
    (root / "inner").symlink_to("src")
    (root / "loop").symlink_to("loop")
    (root / ".env").write_text(CANARY)
    (root / ".ssh").mkdir()
    (root / ".ssh" / "secret.txt").write_text(CANARY)
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        with suppress(OSError):  # the path may be too long for a socket
            listening.bind(str(root / "socket"))
        yield World(outside, {tool.name: tool for tool in file_tools(root, write=True)})


WAYS = [
    "../",
    "../../",
    "/",
    "//",
    "./../",
    "src/../../",
    "src/./../../",
    "link/",
    "link/../",
    "link/root/link/",
    "relative/",
    "..\\",
    "src\\..\\..\\",
    "%2e%2e/",
    "..%2f",
    "%252e%252e/",
    "..;/",
    "file://",
    "file:///",
    "~/",
    "~root/",
    "....//",
    "..../",
    "\u2025/",
    "\uff0e\uff0e/",
    "..\u2215",
    "C:\\",
    "\\\\?\\",
    "\\\\host\\share\\",
    "/proc/self/cwd/",
    "/proc/self/root/",
    "/dev/fd/3/",
    "inner/../../",
    "loop/",
    "pipe/",
    "../root-evil/",
    "../root/../",
    ".ssh/",
    ".\u200b./",
    "..\x00/",
]
PLACES = [
    "secret.txt",
    "root-evil/secret.txt",
    "root/link.txt",
    "new.txt",
    "etc/passwd",
    ".env",
    "",
    "{outside}/secret.txt",
]
ENDS = ["\0", "\0.md", "\n", " ", "/", "/.", "/..", "\u202e", "\udce9", "\ud800", ":stream", "*", "[!x]"]
ALONE = [
    "",
    ".",
    "..",
    "/",
    "~",
    "-",
    "--",
    "*",
    "**",
    "**/*",
    "?",
    "\0",
    "\n",
    "\\",
    "..\\",
    "$HOME",
    "${HOME}",
    "`ls`",
    "$(ls)",
    "; ls",
    "| ls",
    "con",
    "nul.txt",
    "aux",
    ".git",
    ".git/config",
    ".GIT/config",
    "link",
    "link.txt",
    "dangling.txt",
    "inner/a.py",
    "loop",
    "pipe",
    "socket",
    ".env",
    "src/../.env",
    "./.env",
    "/dev/zero",
    "/dev/stdin",
    "/proc/self/environ",
    "x" * 255,
    "x" * 256,
    "x" * 100_000,
    "/".join("x" * 500),
    "é" * 200,
    "\U000e0041" * 10,
    "a\u202eb",
    "{}",
    "%s%n",
    "[z-a]",
    "*a" * 99,
    "[" * 150,
    "!" * 90,
]


def test_hostile_paths_reach_nothing_outside(world: World) -> None:
    paths = [way + place for way, place in itertools.product(WAYS, PLACES)]
    paths += (
        [f"../secret.txt{end}" for end in ENDS] + [f"link.txt{end}" for end in ENDS] + [f"src{end}" for end in ENDS]
    )
    paths = [path.replace("{outside}", str(world.outside)) for path in [*paths, *ALONE]]
    before = world.state()
    for path in paths:
        world.try_all(path)
    assert world.state() == before
    drawn("hostile paths given to each of the tools for files, none of which reached out", len(paths))


PARTS = st.sampled_from(
    [
        "..",
        ".",
        "",
        "src",
        "link",
        "relative",
        "inner",
        "loop",
        "secret.txt",
        "root-evil",
        "root",
        "link.txt",
        "dangling.txt",
        ".env",
        "~",
        "\0",
        "..\\",
        "pipe",
        "a.py",
    ]
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PARTS | st.text(max_size=5), max_size=6).map("/".join) | st.text(max_size=30))
def test_no_path_that_was_drawn_reaches_outside(world: World, path: str) -> None:
    before = world.state()
    world.try_all(path)
    assert world.state() == before
    drawn("paths drawn at random, none of which reached out of the folder")


SWAPPED = [
    ("read_file", {"path": "swap/secret.txt"}),
    ("read_file", {"path": "src/swap.txt"}),
    ("list_files", {"folder": "swap"}),
    ("find_in_files", {"text": "can"}),
    ("write_file", {"path": "swap/secret.txt", "text": "written"}),
    ("write_file", {"path": "swap/deep/new.txt", "text": "written"}),
    ("write_file", {"path": "src/swap.txt", "text": "written"}),
    ("edit_file", {"path": "swap/secret.txt", "old": "can", "new": "written"}),
]


def swapping(world: World, function: Callable[..., Any], after: int) -> Callable[..., Any]:
    """Wrap a function of the system: at that call of it, what is inside is swapped for links to outside."""
    calls = itertools.count(1)

    def call(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == after:
            (world.root / "swap").rename(world.root / "was")
            (world.root / "swap").symlink_to("../root-evil")
            (world.root / "src/swap.txt").unlink()
            (world.root / "src/swap.txt").symlink_to("../../secret.txt")
        return function(*args, **kwargs)

    return call


@pytest.mark.parametrize("function", ["open", "stat", "scandir", "replace", "mkdir"])
@pytest.mark.parametrize(("tool", "args"), SWAPPED)
def test_link_that_takes_the_place_of_a_folder_at_any_moment_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, args: dict[str, str], function: str
) -> None:
    for after in range(1, 5):
        for world in make_world(tmp_path / str(after)):
            (world.root / "swap").mkdir()
            (world.root / "swap/secret.txt").write_text("can be read")
            (world.root / "src/swap.txt").write_text("can be read")
            before = world.state()
            swap = swapping(world, getattr(os, function), after)
            with monkeypatch.context() as patched:
                patched.setattr(os, function, swap)
                try:
                    said = str(world.tools[tool].invoke(args))
                except ToolException as refusal:
                    said = str(refusal)
            assert CANARY not in said
            assert before.items() <= world.state().items()
            drawn("moments at which a folder or file was swapped for a link, which was not followed")


def test_link_that_comes_and_goes_is_never_followed(tmp_path: Path) -> None:
    for world in make_world(tmp_path):
        (world.root / "swap").mkdir()
        (world.root / "swap/secret.txt").write_text("can be read")
        (world.root / "other").symlink_to("../root-evil")
        ended = threading.Event()

        def swap(root: Path = world.root, ended: threading.Event = ended) -> None:
            while not ended.is_set():
                for old, new in (("swap", "x"), ("other", "swap"), ("swap", "other"), ("x", "swap")):
                    while True:
                        with suppress(OSError):  # a tool may have made a folder of that name meanwhile
                            os.rename(root / old, root / new)
                            break
                        shutil.rmtree(root / new, ignore_errors=True)

        thread = threading.Thread(target=swap)
        thread.start()
        try:
            for _ in range(60):
                for tool, args in SWAPPED:
                    with suppress(ToolException):
                        assert CANARY not in str(world.tools[tool].invoke(args))
        finally:
            ended.set()
            thread.join()
        assert (world.outside / "root-evil/secret.txt").read_text() == CANARY
        assert os.listdir(world.outside / "root-evil") == ["secret.txt"]


def test_root_that_becomes_a_link_is_not_followed(world: World) -> None:
    os.rename(world.root, world.outside / "was")
    world.root.symlink_to(world.outside / "root-evil")
    for tool, args in (("list_files", {}), ("read_file", {"path": "secret.txt"}), ("find_in_files", {"text": "can"})):
        with pytest.raises(ToolException, match="symbolic link, and those are not followed"):
            world.tools[tool].invoke(args)


def test_link_to_the_root_is_followed_once(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.txt").write_text("here")
    (tmp_path / "link").symlink_to("real")
    reading = {tool.name: tool for tool in file_tools(tmp_path / "link")}
    (tmp_path / "link").unlink()
    assert reading["read_file"].invoke({"path": "a.txt"}) == "here"


def test_nothing_stays_open(world: World) -> None:
    before = os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd") else []
    for path in ("src/a.py", "link/x", "src/x/y", "pipe", "src", ".."):
        world.try_all(path)
    assert len(os.listdir("/proc/self/fd") if before else []) == len(before)
