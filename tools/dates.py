"""A tool that adds to dates and counts between them."""

import calendar
import re
from datetime import MAXYEAR, MINYEAR, date, timedelta

from langchain_core.tools import ToolException, tool

from plan_execute.tools.characters import spell_out_invisible

MAX_LENGTH = 100
"""Longest text accepted for a date or a span, in characters."""
MAX_WORKING_DAYS = 100_000
"""Most working days added at once."""


@tool
def calculate_dates(start: str, end: str = "", shift: str = "") -> str:
    """Count the days between two dates, or move a date, or tell its weekday and ISO week.

    Dates are written as 2026-03-01, 1 March 2026 or today. Give start and end to count; or start and shift, such as
    "+3 weeks", "-1 year 2 months" or "10 working days". Working days are Monday to Friday: no holidays are known.
    """
    first = _parse_date(start)
    if end and shift:
        raise ToolException("Give `end` to count the days, or `shift` to move the date, not both.")
    if shift:
        return f"{_describe(first)} {_plain(shift)}: {_describe(_move(first, shift))}"
    return _count(first, _parse_date(end)) if end else _describe(first)


calculate_dates.metadata = {"effect": "read", "trusted": True}

_MONTHS = "january february march april may june july august september october november december"
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_ISO = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)
_DAY_FIRST = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?(?: of)? ([a-z]+)\.?,? (\d{4})", re.ASCII)
_MONTH_FIRST = re.compile(r"([a-z]+)\.? (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})", re.ASCII)
_SPAN = re.compile(r"([+-]?) ?(\d{1,7}) (working day|business day|weekday|day|week|month|year)s?", re.ASCII)


def _plain(text: str) -> str:
    if len(text) > MAX_LENGTH:
        raise ToolException(f"The text has {len(text):,} characters; at most {MAX_LENGTH} are read.")
    return spell_out_invisible(" ".join(text.replace("\u2212", "-").split()), strict=True)


def _parse_date(text: str) -> date:
    plain = _plain(text)
    lowered = plain.lower()
    if lowered == "today":
        return date.today()
    if iso := _ISO.fullmatch(lowered):
        year, month, day = map(int, iso.groups())
    elif named := _DAY_FIRST.fullmatch(lowered):
        year, month, day = int(named[3]), _month(named[2]), int(named[1])
    elif named := _MONTH_FIRST.fullmatch(lowered):
        year, month, day = int(named[3]), _month(named[1]), int(named[2])
    else:
        why = "could mean two dates" if re.fullmatch(r"\d{1,2}([/.-])\d{1,2}\1\d{2,4}", lowered) else "is no date"
        raise ToolException(f"'{plain}' {why}: write it as 2026-04-03, 3 April 2026 or today.")
    try:
        return date(year, month, day)
    except ValueError:
        raise ToolException(f"There is no day '{plain}': check the month and the day.") from None


def _month(name: str) -> int:
    """The number of a month, by its name or its first letters, at least three; 0 if there is none."""
    found = [number for number, month in enumerate(_MONTHS.split(), start=1) if month.startswith(name)]
    return found[0] if len(name) >= 3 and found else 0


def _describe(day: date) -> str:
    year, week, _ = day.isocalendar()
    return f"{day.isoformat()} ({_WEEKDAYS[day.weekday()]}, ISO week {year:04}-W{week:02})"


def _count(start: date, end: date) -> str:
    days = (end - start).days
    weeks, rest = divmod(abs(days), 7)
    first, last = min(start, end), max(start, end)
    working = 5 * weeks + sum((first + timedelta(number)).weekday() < 5 for number in range(rest))
    sign = "-" if days < 0 else ""
    return (
        f"From {_describe(start)} to {_describe(end)}: {days} days = {sign}{weeks} weeks and {rest} days; "
        f"{working} working days, {first.isoformat()} included and {last.isoformat()} not."
    )


def _move(start: date, shift: str) -> date:
    months, days, working = _parse_shift(shift)
    try:
        return _add_working_days(_add_months(start, months) + timedelta(days), working)
    except (OverflowError, ValueError):
        raise ToolException(f"The date leaves the years {MINYEAR} to {MAXYEAR}: move it by less.") from None


def _parse_shift(shift: str) -> tuple[int, int, int]:
    """Read a span as months, days and working days; a sign holds until the next one."""
    plain = _plain(shift)
    text = re.sub(r"\b(plus|minus)\b", lambda word: "+" if word[0] == "plus" else "-", plain.lower())
    text = " ".join(re.sub(r",|\band\b", " ", text).split())
    spans = list(_SPAN.finditer(text))
    if not spans or _SPAN.sub("", text).strip():
        raise ToolException(
            f"'{plain}' is no span of time: write it as '+3 weeks', '-1 year 2 months', '10 working days'."
        )
    months = days = working = 0
    sign = 1
    for span in spans:
        sign = {"+": 1, "-": -1}.get(span[1], sign)
        amount = sign * int(span[2])
        match span[3]:
            case "year" | "month":
                months += amount * (12 if span[3] == "year" else 1)
            case "week" | "day":
                days += amount * (7 if span[3] == "week" else 1)
            case _:
                working += amount
    if abs(working) > MAX_WORKING_DAYS:
        raise ToolException(f"At most {MAX_WORKING_DAYS:,} working days are counted.")
    return months, days, working


def _add_months(day: date, months: int) -> date:
    """The same day of another month, or its last day where it is shorter: 31 January and a month is 28 February."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return date(year, month + 1, min(day.day, last))


def _add_working_days(day: date, working: int) -> date:
    step = timedelta(1 if working > 0 else -1)
    for _ in range(abs(working)):
        day += step
        while day.weekday() >= 5:
            day += step
    return day
