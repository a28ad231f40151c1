"""How foreign text and times are written for people: on one line, without control characters, in minutes."""

from datetime import datetime


def one_line(text: str, limit: int = 300) -> str:
    """Put text on one harmless line of at most `limit` characters."""
    line = visible(" ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 3] + "..."


def visible(text: str, *, lines: bool = False) -> str:
    """Make text harmless to a terminal: control characters and those that turn the writing direction are spelled out.

    With `lines`, line ends and tabs stay.
    """
    return text.translate(_HARMLESS_BUT_LINES if lines else _HARMLESS)


def duration(seconds: float) -> str:
    """Word a time."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def seconds_between(start: str, end: str) -> float:
    """The time between two transitions of a run."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


_DANGEROUS = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]


_HARMLESS = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _DANGEROUS}


_HARMLESS_BUT_LINES = {code: text for code, text in _HARMLESS.items() if chr(code) not in "\n\t"}
