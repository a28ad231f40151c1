"""Sums with dates are right, and what is no date or could mean two is refused with a sentence."""

import re
from contextlib import suppress
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.tools import ToolException

from plan_execute.tools import calculate_dates
from tests.drawn import drawn


def ask(start: str, **more: str) -> str:
    return str(calculate_dates.invoke({"start": start, **more}))


def test_dates_are_counted_moved_and_named() -> None:
    assert ask("2026-01-01") == "2026-01-01 (Thursday, ISO week 2026-W01)"
    assert ask("1 March 2026", end="2026-04-15") == (
        "From 2026-03-01 (Sunday, ISO week 2026-W09) to 2026-04-15 (Wednesday, ISO week 2026-W16): "
        "45 days = 6 weeks and 3 days; 32 working days, 2026-03-01 included and 2026-04-15 not."
    )
    assert ask("2026-04-15", end="2026-03-01").split(": ")[1].startswith("-45 days = -6 weeks and 3 days; 32 working")
    assert ask("2026-03-01", shift="+3 weeks") == (
        "2026-03-01 (Sunday, ISO week 2026-W09) +3 weeks: 2026-03-22 (Sunday, ISO week 2026-W12)"
    )


def moved(start: str, shift: str) -> str:
    return ask(start, shift=shift).split(": ")[1][:10]


@pytest.mark.parametrize(
    ("start", "shift", "expected"),
    [
        ("2026-01-31", "1 month", "2026-02-28"),
        ("2024-01-31", "1 month", "2024-02-29"),
        ("2024-02-29", "+1 year", "2025-02-28"),
        ("2024-02-29", "4 years", "2028-02-29"),
        ("2026-03-31", "-1 month", "2026-02-28"),
        ("2026-12-31", "1 day", "2027-01-01"),
        ("2026-03-01", "-1 year 2 months", "2025-01-01"),
        ("2026-03-01", "1 year and -2 months", "2027-01-01"),
        ("2026-03-01", "minus 3 weeks, plus 1 day", "2026-02-09"),
        ("2026-03-01", "\u22121 day", "2026-02-28"),
        ("2026-03-06", "1 working day", "2026-03-09"),
        ("2026-03-07", "1 business day", "2026-03-09"),
        ("2026-03-09", "-1 weekday", "2026-03-06"),
        ("2026-03-06", "10 working days", "2026-03-20"),
        ("9999-12-30", "1 day", "9999-12-31"),
        ("9999-11-30", "1 month", "9999-12-30"),
        ("0001-01-02", "-1 day", "0001-01-01"),
    ],
)
def test_dates_are_moved(start: str, shift: str, expected: str) -> None:
    assert moved(start, shift) == expected


@pytest.mark.parametrize(
    "written",
    [
        "2026-03-01",
        "1 March 2026",
        "01 mar 2026",
        "1st of March 2026",
        "March 1, 2026",
        "Mar. 1st, 2026",
        " 1  MARCH  2026 ",
    ],
)
def test_dates_are_read_as_people_write_them(written: str) -> None:
    assert ask(written).startswith("2026-03-01 (Sunday")


def test_september_has_two_short_forms() -> None:
    assert ask("3 Sept 2026") == ask("3 Sep 2026") == ask("2026-09-03")


def test_today_is_today() -> None:
    before = date.today()
    said = ask("today")[:10]
    assert before.isoformat() <= said <= date.today().isoformat()


@pytest.mark.parametrize(
    ("start", "more", "said"),
    [
        ("03/04/2026", {}, "'03/04/2026' could mean two dates: write it as 2026-04-03, 3 April 2026 or today"),
        ("3.4.2026", {}, "could mean two dates"),
        ("3-4-26", {}, "could mean two dates"),
        ("2026-02-30", {}, "There is no day '2026-02-30'"),
        ("31 April 2026", {}, "There is no day"),
        ("3 Ma 2026", {}, "There is no day"),
        ("0000-01-01", {}, "There is no day"),
        ("tomorrow", {}, "'tomorrow' is no date"),
        ("", {}, "'' is no date"),
        ("2026-1-1", {}, "is no date"),
        ("20260101", {}, "is no date"),
        ("2026-03-01T00:00", {}, "is no date"),
        ("\u0662\u0660\u0662\u0666-03-01", {}, "is no date"),
        ("1" * 100_000, {}, "has 100,000 characters"),
        ("__import__('os')", {}, "is no date"),
        ("2026\u200b-01-01", {}, r"'2026\\u200b-01-01' is no date"),
        ("2026-01-01", {"end": "2026-02-01", "shift": "1 day"}, "not both"),
        ("2026-01-01", {"end": "soon"}, "'soon' is no date"),
        ("2026-01-01", {"shift": "3"}, "'3' is no span of time: write it as"),
        ("2026-01-01", {"shift": "9**9**9 days"}, "is no span"),
        ("2026-01-01", {"shift": "1e9 days"}, "is no span"),
        ("2026-01-01", {"shift": "1.5 months"}, "is no span"),
        ("2026-01-01", {"shift": "99999999 days"}, "is no span"),
        ("2026-01-01", {"shift": "9999999 days"}, "leaves the years 1 to 9999"),
        ("2026-01-01", {"shift": "-9999999 years"}, "leaves the years"),
        ("2026-01-01", {"shift": "9999999 months"}, "leaves the years"),
        ("9999-12-31", {"shift": "1 month"}, "leaves the years"),
        ("9999-12-31", {"shift": "1 working day"}, "leaves the years"),
        ("2026-01-01", {"shift": "100001 working days"}, "At most 100,000 working days"),
        ("2026-01-01", {"shift": "(" * 90}, "is no span"),
    ],
)
def test_what_is_no_date_is_refused_with_a_sentence(start: str, more: dict[str, str], said: str) -> None:
    with pytest.raises(ToolException, match=said) as refusal:
        ask(start, **more)
    assert len(str(refusal.value)) < 300
    drawn("hostile and unclear dates refused")


WEEKEND = {f"{date(2026, 8, day):%a}" for day in (1, 2)}
DAYS = st.dates(date(1900, 1, 1), date(2200, 1, 1))


@given(DAYS, DAYS)
def test_counts_agree_with_a_calendar(start: date, end: date) -> None:
    said = re.search(
        r": (-?\d+) days = (-?)(\d+) weeks and (\d) days; (\d+) working days", ask(str(start), end=str(end))
    )
    assert said
    assert int(said[1]) == end.toordinal() - start.toordinal()
    assert int(said[3]) * 7 + int(said[4]) == abs(int(said[1]))
    first, last = sorted((start, end))
    if (last - first).days < 5_000:
        days = [date.fromordinal(number) for number in range(first.toordinal(), last.toordinal())]
        assert int(said[5]) == sum(f"{day:%a}" not in WEEKEND for day in days)
    drawn("sums with dates that agree with another computation")


@given(DAYS, st.integers(-900, 900), st.integers(-90, 90), st.integers(-500, 500), st.integers(-9999, 9999))
def test_moves_agree_with_a_calendar(start: date, months: int, years: int, weeks: int, days: int) -> None:
    count = start.month + months + 12 * years
    year, month = start.year + (count - 1) // 12, (count - 1) % 12 + 1
    first = date(year, month, 1)
    of_month = [day for number in range(31) if (day := first + timedelta(number)).month == month]
    expected = of_month[: start.day][-1].toordinal() + 7 * weeks + days
    spans = {"years": years, "months": months, "weeks": weeks, "days": days}
    said = moved(str(start), " ".join(f"{amount:+d} {unit}" for unit, amount in spans.items()))
    assert date.fromisoformat(said).toordinal() == expected
    drawn("sums with dates that agree with another computation")


@given(DAYS, st.integers(1, 400))
def test_working_days_agree_with_a_calendar(start: date, count: int) -> None:
    after = [start + timedelta(number) for number in range(1, 2 * count + 10)]
    assert (
        moved(str(start), f"{count} working days")
        == [str(day) for day in after if f"{day:%a}" not in WEEKEND][count - 1]
    )
    drawn("sums with dates that agree with another computation")


@given(DAYS)
def test_weekdays_and_weeks_agree_with_the_c_library(day: date) -> None:
    assert ask(day.isoformat()) == f"{day} ({day:%A}, ISO week {day:%G}-W{day:%V})"


@given(st.text(max_size=30) | st.text("0123456789-/ +dayswekmonth", max_size=30), st.text("+-0123456789 dayswekmonth"))
def test_any_text_is_safe(start: str, shift: str) -> None:
    for first in (start, "2026-01-01"):
        with suppress(ToolException):
            ask(first, shift=shift)
