"""The table of cases names tests that exist."""

import re
from pathlib import Path

TESTS = Path(__file__).parent


def test_every_test_named_in_the_table_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (TESTS / "CASES.md").read_text()))
    written = {name for file in TESTS.rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())}
    assert len(named) > 40
    assert named <= written, named - written
