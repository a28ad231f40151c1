"""How many cases hypothesis has drawn for a property; pytest prints it at the end."""

from collections import Counter

DRAWN: Counter[str] = Counter()


def drawn(what: str, count: int = 1) -> None:
    """Count cases of a property by a sentence about it."""
    DRAWN[what] += count
