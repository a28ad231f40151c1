"""How text from elsewhere, times and money are written for people, in the terminal and in the report."""

from datetime import datetime

from plan_execute.tools.characters import spell_out_invisible


def one_line(text: str, limit: int = 300) -> str:
    """Put text on one line of at most `limit` characters, harmless to a terminal; the end of a longer one is cut."""
    line = visible(" ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 3] + "..."


def visible(text: str, *, lines: bool = False, strict: bool = False) -> str:
    """Spell out what a person would not see in a text, or what would drive their terminal.

    Every text from elsewhere passes here on its way to a terminal or a page, whole, as the last step.

    Args:
        text: The text, from whatever source.
        lines: Whether line ends and tabs stay.
        strict: Whether even those joiners are spelled out that a script or an emoji needs: for what a person approves.
    """
    return spell_out_invisible(text, lines=lines, strict=strict)


def duration(seconds: float) -> str:
    """Write a time: `3.2 s`, `42 s`, `1 min 5 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def seconds_between(start: str, end: str) -> float:
    """Seconds between two times, ISO 8601."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def local_time(at: str) -> str:
    """Write a time, ISO 8601, as a clock here shows it, to the second."""
    return datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def money(usd: float | None) -> str:
    """Write dollars: to the hundredth of a cent below one dollar, to the cent above; None is `unknown`."""
    if usd is None:
        return "unknown"
    return "<$0.0001" if 0 < usd < 0.0001 else f"${usd:,.4f}" if 0 < usd < 1 else f"${usd:,.2f}"
