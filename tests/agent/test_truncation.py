"""A long text is shown in part and can be read whole."""

import pytest
from langchain_core.tools import ToolException

from plan_execute.agent.truncation import (
    SHOWN_LIMIT,
    STORED_LIMIT,
    read_reference,
    sanitize,
    truncate_middle,
)


def test_long_text_is_cut_in_the_middle_and_says_so() -> None:
    cut = truncate_middle("a" * 5_000 + "b" * 5_000, 100, "m1")
    assert cut.startswith("a" * 50)
    assert cut.endswith("b" * 50)
    assert '9,900 characters left out; read on with read_result(reference="m1", offset=50)' in cut


def test_short_text_stays_as_it_is() -> None:
    assert truncate_middle("short", 5) == "short"


def test_whole_text_can_be_read_part_by_part() -> None:
    text = "".join(f"line {n}\n" for n in range(9_000))
    read, offset = "", 0
    while offset < len(text):
        part = read_reference({"r1": text}, "r1", offset)[:SHOWN_LIMIT].split("\n[...")[0]
        read, offset = read + part, offset + len(part)
    assert read == text


@pytest.mark.parametrize(
    ("reference", "offset", "said"), [("r9", 0, "there are: r1"), ("r1", 99, "offset from 0 to 4")]
)
def test_wrong_place_gets_a_sentence(reference: str, offset: int, said: str) -> None:
    with pytest.raises(ToolException, match=said):
        read_reference({"r1": "short"}, reference, offset)


def test_any_text_can_be_stored() -> None:
    assert sanitize("a\ud800b\x00") == "a?b?"
    assert len(sanitize("x" * 50_000_000)) < STORED_LIMIT + 200
