"""Records a session of the command on a terminal as a picture: `python -m tests.recorded_session FOLDER`.

The bundled model plans; the plan is reviewed and edited, the run is killed in its middle, resumed, and reported. What
the terminal showed goes to `session.svg`, the report to `report.html`. Needs `pyte` (of the extra `dev`), a terminal's
emulator.
"""

import argparse
import os
import pty
import re
import select
import signal
import stat
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from io import StringIO
from pathlib import Path

import pyte
from rich.console import Console
from rich.text import Text

COLUMNS, ROWS = 110, 400
REQUEST = "How many customers live in Germany, and what is 15% of that number?"
EDITOR = """\
#!/bin/sh
sed -i 's/15%/20%/' "$1"
printf '\\033[2m(in the editor, 15%% becomes 20%%)\\033[0m\\n'
"""
COLOURS = {"default": "", "brown": "yellow"}
"""Where pyte's names are not rich's."""


class Terminal:
    """A screen as tall as a whole session, and the processes that write on it one after the other."""

    def __init__(self, folder: Path) -> None:
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self.stream = pyte.ByteStream(self.screen)
        editor = folder / "editor"
        editor.write_text(EDITOR)
        editor.chmod(editor.stat().st_mode | stat.S_IXUSR)
        kept_from_it = ("OPENAI_", "NO_COLOR", "COLUMNS", "PLAN_EXECUTE_")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(kept_from_it)},
            "TERM": "xterm-256color",
            "EDITOR": str(editor),
            "XDG_DATA_HOME": str(folder),
            "LANG": "C.UTF-8",
        }
        self.folder = folder

    def run(self, *args: str, answers: dict[str, str] | None = None, killed_at: str = "") -> None:
        """Type a command and wait for its end; answer what it asks, or kill it when it says something."""
        typed = " ".join(f'"{arg}"' if " " in arg else arg for arg in args)
        self.stream.feed(f"\x1b[1m$ plan-execute {typed}\x1b[0m\r\n".encode())
        ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-m", "plan_execute.graphs.cli.main", *args],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=self.folder,
            env=self.environment,
            start_new_session=True,
        )
        os.close(theirs)
        written, left = b"", dict(answers or {})
        while chunk := _read(ours):
            written += chunk
            self.stream.feed(chunk)
            for question in [question for question in left if question.encode() in written]:
                time.sleep(0.2)
                os.write(ours, left.pop(question).encode())
            if killed_at and killed_at.encode() in written:
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
        os.close(ours)
        self.stream.feed(b"\x1b[?25h\x1b[2K\r" + (b"Killed\r\n" if killed_at else b"") + b"\r\n")

    def picture(self) -> str:
        """All that was shown, as SVG without fonts from elsewhere."""
        lines = [_line(self.screen.buffer[row]) for row in range(ROWS)]
        while lines and not lines[-1].plain.strip():
            lines.pop()
        console = Console(record=True, width=COLUMNS, file=StringIO())
        for line in lines:
            console.print(line, no_wrap=True, highlight=False)
        return re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="plan-execute"), flags=re.DOTALL)


def main() -> None:
    """Record it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="where the picture and the report go")
    folder: Path = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    terminal = Terminal(folder)
    review = ("--thread", "shop", "--review", "first")
    terminal.run(REQUEST, *review, answers={"[s]how in full: ": "e\n"}, killed_at="m3 completed")
    terminal.run("threads")
    terminal.run("resume", "shop")
    terminal.run("report", "shop", "-o", "report.html")
    (folder / "session.svg").write_text(terminal.picture(), "utf-8")


def _read(ours: int) -> bytes:
    try:
        ready, _, _ = select.select([ours], [], [], 300)
        return os.read(ours, 65_536) if ready else b""
    except OSError:  # the other end is closed
        return b""


def _line(row: dict[int, pyte.screens.Char]) -> Text:
    text = Text()
    for column in range(COLUMNS):
        char = row[column]
        colour = COLOURS.get(char.fg, char.fg if not re.fullmatch("[0-9a-f]{6}", char.fg) else f"#{char.fg}")
        style = " ".join(filter(None, [colour.replace("bright", "bright_"), "bold" if char.bold else ""]))
        text.append(char.data, style)
    text.rstrip()
    return text


if __name__ == "__main__":
    main()
