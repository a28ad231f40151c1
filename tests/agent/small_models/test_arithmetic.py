"""Reading an expression: all numbers and words of a sentence count, or nothing is read."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plan_execute.agent.small_models.arithmetic import RESULT, read_expression
from plan_execute.agent.small_models.words import operands

NO_INPUTS: dict[str, str] = {}


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("What is 15% of 240 dollars?", "15% of 240"),
        ("how much is 18% of 1,200?", "18% of 1200"),
        ("-5 + 3", "-5 + 3"),
        ("8-5", "8 - 5"),
        ("What is -5 times 4?", "-5 * 4"),
        ("Divide 1,440 by 12", "1440 / 12"),
        ("Subtract 9 from 40", "40 - 9"),
        ("Take 10% off 20", "20 - 10% of 20"),
        ("Increase 20 by 10%", "20 + 10% of 20"),
        ("100 minus 10%", "100 - 10% of 100"),
        ("double 40", "2 * 40"),
        ("half of 40", "0.5 * 40"),
        ("What is the sum of 3, 4 and 5?", "(3 + 4) + 5"),
        ("10 - 3 - 2", "(10 - 3) - 2"),
        ("1 + 5 * (2 + 3)", "1 + (5 * (2 + 3))"),
        ("Multiply the sum of 3 and 4 by 5", "(3 + 4) * 5"),
        ("What is 12 divided by 4 plus 3?", "(12 / 4) + 3"),
    ],
)
def test_expression_of_numbers_is_read(text: str, expression: str) -> None:
    assert read_expression(text, NO_INPUTS) == expression


@pytest.mark.parametrize(
    ("text", "result", "expression"),
    [
        ("what is 15% of that number?", "count: 1,200", "15% of 1200"),
        ("subtract 9 from it", "49", "49 - 9"),
        ("what is twice that number of days?", "An opened bottle stays good for 5 days.", "2 * 5"),
        ("multiply the number of days by 24", "Within 45 days, or 2 months.", "45 * 24"),
        ("what do 12 such parcels cost?", "Express shipping costs 34 dollars per parcel.", "12 * 34"),
        ("how much do 6 people pay for it?", "The tour costs 35 euros.", "6 * 35"),
        ("what is that plus 5%?", "100", "100 + 5% of 100"),
    ],
)
def test_earlier_result_takes_the_place_of_what_points_at_it(text: str, result: str, expression: str) -> None:
    assert read_expression(text, {"m1": result}) == expression


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("3 tents cost 240 dollars, minus 10%", ""),
        ("If I buy 3 tents at 20 each, what do I pay?", ""),
        ("2 ^ 3", ""),
        ("What is the average of 3 and 5?", ""),
        ("add 3 to 5 and 7", ""),
        ("A box has 3 nails and 4 screws", ""),
        ("what is 8% of it before tax?", "100"),
        ("what is half of it?", "Gift cards are sold from 20 to 500 dollars."),
        ("how much do 6 people pay for it?", "A tour takes at most 16 visitors."),
        ("what is 12 times that discount?", "Gold members get a discount of 12 percent."),
    ],
)
def test_nothing_is_read_where_a_word_or_a_number_would_be_left_over(text: str, result: str) -> None:
    assert read_expression(text, {"m1": result} if result else NO_INPUTS) is None


def test_result_to_come_is_a_place_holder() -> None:
    assert read_expression("what is 15% of that number?", NO_INPUTS, follows=True) == f"15% of {RESULT}"
    assert read_expression("what is 15% of that number?", NO_INPUTS) is None


WORDS = ["3", "12%", "(", ")", "+", "-", "*", "/", "of", "and", "by", "times", "the", "sum", "divide", "off", "twice"]


@given(st.lists(st.sampled_from([*WORDS, "that", "7", "."])))
def test_what_is_read_has_every_number(words: list[str]) -> None:
    text = " ".join(words)
    expression = read_expression(text, {"m1": "80"})
    if expression is not None:
        assert Counter(number.digits for number in operands(text)) <= Counter(re.findall(r"\d+", expression))
