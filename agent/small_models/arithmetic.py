"""The expression that a sentence asks for, read by rules: all its numbers and words count, or nothing is read."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from plan_execute.agent.small_models.words import (
    ANAPHORA,
    POINTER,
    Operand,
    joined,
    left_over,
    operands,
)

RESULT = "<result>"
"""Stands in an expression for an earlier result that is not known yet."""


class Term(NamedTuple):
    """A part of a sentence that is read: what it is in the calculator's notation, and what it came from."""

    text: str
    percent: bool = False
    given: bool = False
    """Whether it is the result of an earlier milestone."""
    factor: bool = False
    """Whether it was a word such as "twice", which multiplies what follows it."""
    single: bool = True

    @property
    def grouped(self) -> str:
        """The term as a part of a larger expression."""
        return self.text if self.single else f"({self.text})"


_T = r"<(\d+)>"
_TIMES, _BY = "(?:times|multiplied by|x|\u00d7|\\*)", "(?:divided by|over|/|\u00f7)"
_BINDS_CLOSER = rf"(?!\s*(?:{_TIMES}|{_BY})(?=\W))"
_MONEY = re.compile(
    r"\b(?:costs?|prices?|pays?|paid|fees?|charges?|fines?|dollars?|euros?|pounds?)\b|[$€£]", re.IGNORECASE
)
_FILLER_LIST = """
a an and answer are be calculate can compute could do does equal equals evaluate exactly find for give how i is it
just let's make me much now number of out please result show so tell that the then to up value what which will work
would you
"""
_FILLERS = frozenset(_FILLER_LIST.split())
_POINTER = re.compile(
    rf"(?:{POINTER.pattern})(?:(?<=number)|(?<=amount))(?: of [a-z]+)|{POINTER.pattern}", re.IGNORECASE
)
"""The same as `POINTER`, with the whole of "that number of days"."""
_CURRENCIES = r"(?:\s+(?:dollars?|euros?|pounds?))?"


def _infix(sign: str) -> Callable[[Term, Term], str]:
    return lambda a, b: f"{a.grouped} {sign} {b.grouped}"


def _reversed_infix(sign: str) -> Callable[[Term, Term], str]:
    return lambda a, b: f"{b.grouped} {sign} {a.grouped}"


_RATES: Sequence[tuple[str, int, Callable[[Term, Term], str]]] = [
    (rf"\b(?:take |get )?{_T} off (?:of )?{_T}", 0, lambda a, b: f"{b.grouped} - {a.text} of {b.grouped}"),
    (rf"{_T} of {_T}", 0, lambda a, b: f"{a.text} of {b.grouped}"),
    (rf"\b(?:raise|increase) {_T} by {_T}", 1, lambda a, b: f"{a.grouped} + {b.text} of {a.grouped}"),
    (rf"\b(?:reduce|lower|decrease|cut) {_T} by {_T}", 1, lambda a, b: f"{a.grouped} - {b.text} of {a.grouped}"),
    (rf"{_T} (?:plus|\+) {_T}", 1, lambda a, b: f"{a.grouped} + {b.text} of {a.grouped}"),
    (rf"{_T} (?:minus|less|-) {_T}", 1, lambda a, b: f"{a.grouped} - {b.text} of {a.grouped}"),
]
"""Readings of a percentage with what it is taken of: a pattern, which of the two is the percentage, the expression."""
_FACTORS = rf"{_T} (?:of |times )?{_T}"
"""Half, double and the like of something."""
_ROUNDS: Sequence[Sequence[tuple[str, Callable[[Term, Term], str]]]] = [
    [
        (rf"(?<=\bsum of ){_T} {_T}", _infix("+")),
        (rf"(?<=\badd ){_T} {_T}", _infix("+")),
        (rf"\b(?:sum|total) of {_T} and {_T}", _infix("+")),
        (rf"\bproduct of {_T} and {_T}", _infix("*")),
    ],
    [(rf"{_T} {_TIMES} {_T}", _infix("*")), (rf"{_T} {_BY} {_T}", _infix("/"))],
    [
        (rf"{_T} (?:plus|added to|\+) {_T}{_BINDS_CLOSER}", _infix("+")),
        (rf"{_T} (?:minus|-|–|−) {_T}{_BINDS_CLOSER}", _infix("-")),  # noqa: RUF001 - people write it
    ],
    [
        (rf"\bmultiply {_T} (?:by|with|and) {_T}", _infix("*")),
        (rf"\bdivide {_T} by {_T}", _infix("/")),
        (rf"\b(?:share|split) {_T} (?:among|between) {_T}(?: people)?", _infix("/")),
        (rf"\badd (?:up )?{_T} (?:to|and) {_T}", _infix("+")),
        (rf"\bsubtract {_T} from {_T}", _reversed_infix("-")),
        (rf"\btake {_T} (?:away )?from {_T}", _reversed_infix("-")),
    ],
]
"""By rank, what binds first: nouns, then products, then sums, then verbs that take a whole phrase."""
_PURCHASE = re.compile(
    rf"^(?:and |then )*(?:how much|what) (?:do|does|would|will|must) {_T} (?:such |of )?(?:[a-z]+ ){{0,2}}"
    r"(?:cost|pay)\b(?: for)?"
)


def read_expression(text: str, inputs: Mapping[str, str], *, follows: bool = False) -> str | None:
    """Read the expression that a text asks for, in the calculator's notation.

    Args:
        text: What to calculate.
        inputs: Results of earlier milestones.
        follows: Whether there will be a result that is not known yet: then `RESULT` stands for it.

    Returns:
        The expression; None if a word or a number of the text would be left over, or if the result has several
        numbers and the text does not say which.
    """
    spans = [(number.start, number.end, _as_term(text, number)) for number in operands(text)]
    results = joined(inputs)
    if (inputs or follows) and (len(spans) < 2 or ANAPHORA.search(text)):
        given = Term(RESULT, given=True) if not results else _given(text, results)
        if given is None:
            return None
        taken = [range(start, end) for start, end, _ in spans]
        pointers = (
            m for m in _POINTER.finditer(text) if not any(m.start() in span or m.end() - 1 in span for span in taken)
        )
        pointer = next(pointers, None)
        start, end = pointer.span() if pointer else (len(text), len(text))
        spans = sorted([*spans, (start, end, given)])
    if len(spans) < 2:
        return None
    terms = [term for _, _, term in spans]
    shown, at = "", 0
    for index, (start, end, _) in enumerate(spans):
        shown += f"{text[at:start]} <{index}> "
        at = end
    shown = f" {shown}{text[at:]} ".casefold()
    shown = re.sub(rf"{_T}{_CURRENCIES}", r"<\1>", shown)
    shown = " ".join(re.sub(r"[()]?(?<=[\s>])[?!.,;:=]+(?=\s|$)", " ", shown).split())
    rest = _reduce(shown, terms, results)
    (last, *others), words = re.findall(_T, rest), re.sub(_T, " ", rest)
    is_read = not others and int(last) >= len(spans) and not re.search("[-+*/^()%\u00d7\u00f7]", words)
    return terms[-1].text if is_read and not left_over(words, (), _FILLERS) else None


def _reduce(shown: str, terms: list[Term], results: str) -> str:
    """Put terms together, what binds closest first, until nothing more can be."""

    def put(match: re.Match[str], text: str) -> str:
        terms.append(Term(text, single=False))
        return f"{shown[: match.start()]}<{len(terms) - 1}>{shown[match.end() :]}"

    while True:
        before = shown
        shown = re.sub(rf"\(\s*{_T}\s*\)|\bthe {_T}", lambda match: f"<{match[1] or match[2]}>", shown)
        for pattern, rate, made in _RATES:
            for match, pair in _pairs(pattern, shown, terms):
                if pair[rate].percent and not pair[1 - rate].percent:
                    shown = put(match, made(*pair))
                    break
            if shown != before:
                break
        for match, (a, b) in _pairs(_FACTORS, shown, terms) if shown == before else ():
            if a.factor and not b.percent:
                shown = put(match, f"{a.grouped} * {b.grouped}")
                break
        for rules in _ROUNDS if shown == before else ():
            found = [
                (match, made(*pair))
                for pattern, made in rules
                for match, pair in _pairs(pattern, shown, terms)
                if not any(term.percent for term in pair)
            ]
            if found:
                shown = put(*min(found, key=lambda reading: reading[0].start()))
                break
        if shown == before:
            return _read_purchase(shown, terms, results)


def _pairs(pattern: str, shown: str, terms: Sequence[Term]) -> list[tuple[re.Match[str], tuple[Term, Term]]]:
    return [(m, (terms[int(m[1])], terms[int(m[2])])) for m in re.finditer(pattern, shown)]


def _read_purchase(shown: str, terms: list[Term], results: str) -> str:
    """Read what a number of things costs, where the result before it is the price of one."""
    match = _PURCHASE.match(shown)
    rest = re.findall(_T, shown[match.end() :]) if match else []
    if match is None or len(rest) != 1 or not terms[int(rest[0])].given or not _MONEY.search(results or "price"):
        return shown
    terms.append(Term(f"{terms[int(match[1])].grouped} * {terms[int(rest[0])].grouped}", single=False))
    return shown[match.end() :].replace(f"<{rest[0]}>", f"<{len(terms) - 1}>")


def _as_term(text: str, number: Operand) -> Term:
    written = text[number.start : number.end].casefold()
    factor = written in {"half", "twice", "double", "triple", "dozen"}
    return Term(number.digits + "%" * number.percent, percent=number.percent, factor=factor)


def _given(text: str, results: str) -> Term | None:
    """The number of an earlier result that a text means: the only one, or the one in front of the noun it names."""
    found = {(number.digits, number.percent) for number in operands(results)}
    if len(found) > 1 and (noun := re.search(r"\bnumber of ([a-z]+)", text, re.IGNORECASE)):
        behind = re.compile(rf"\s*{re.escape(noun[1])}\b", re.IGNORECASE)
        found = {(n.digits, n.percent) for n in operands(results) if behind.match(results, n.end)}
    if len(found) != 1:
        return None
    ((digits, percent),) = found
    return Term(digits + "%" * percent, percent=percent, given=True)
