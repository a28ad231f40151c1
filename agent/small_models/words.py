"""Words and numbers in a text, as far as code can tell them: what links a request to schemas and operands."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

ANAPHORA = re.compile(
    r"\b(that|this|it|its|those|these|them|they|their|result|answer|total|figure|same|he|she|his|her)\b", re.IGNORECASE
)
"""Words that point at something said before."""

POINTER = re.compile(
    r"\b(?:(?:that|this|those|these) (?!is\b|are\b|in\b|of\b|times\b|by\b)[a-z]+"
    r"|(?:the|that|this) (?:number|result|answer|total|figure|sum|amount|count)(?: of [a-z]+)?"
    r"|that|this|it|them|those|these)\b",
    re.IGNORECASE,
)
"""The words that stand for an earlier result, as one phrase."""

_NUMBER = re.compile(
    r"(?<![\w.])((?<![)%])(?<![\d)%] )-|negative )?[$€£]?"
    r"(\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)( ?%| percent\b)?(?![\d])",
    re.IGNORECASE,
)
_NAMED = {
    "half": "0.5",
    "double": "2",
    "twice": "2",
    "triple": "3",
    "dozen": "12",
    "hundred": "100",
    **{
        word: str(n)
        for n, word in enumerate(("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), 2)
    },
}
_NAMED_NUMBER = re.compile(rf"\b({'|'.join(_NAMED)})\b", re.IGNORECASE)
_EMPTY_TEXT = """
a about an and any are as at be been by can could did do does each every find for from get give had has have how i if
in is it its kindly list look many me much my of on or our please say show so tell that the their them then there these
they this those to up us was we were what when where which who whom whose why will with would you your
"""
_EMPTY = frozenset(_EMPTY_TEXT.split())
_DEEDS = """
arrange assign buy cancel compose create delete destroy draw erase forward hire insert install modify notify paint
reject remind remove rename replace reserve restart sell send sing submit translate update upload wipe write
"""
_DEEDS_OR_THINGS = """
approve block book call change charge cook copy design drop edit email fix invite invoice make message move open order
pay phone plan play post print publish purchase refund reset restock save schedule set ship start stop text transfer
"""
_OBJECT = "me|us|him|her|them|it|an?|the|all|any|every|each|some|this|that|these|those|my|our|your"
_ASKED = "and|then|please|kindly|just|(?:can|could|will|would) you|(?:want|need|like)(?: you)? to"
_DEED = re.compile(
    rf"(?:^|[.?!;:,]\s+|\b(?:{_ASKED})\s+)"
    rf"(?:({'|'.join(_DEEDS.split())})\b|({'|'.join(_DEEDS_OR_THINGS.split())})(?=\s+(?:(?:{_OBJECT})\b|\d)))",
    re.IGNORECASE,
)
_GOES_ON = re.compile(r"\W*(?:and|or|but|also|then|same|(?:what|how) about)\b", re.IGNORECASE)
_POINTS_BACK = re.compile(
    r"\b(?:they|them|their|those|these|that|it(?!\b.*\bto\b)|its|he|him|his|she|her)\b", re.IGNORECASE
)
_RECKONING = frozenset({"add", "count", "divide", "double", "half", "minus", "multiply", "plus", "subtract", "take"})


class Operand(NamedTuple):
    """A number in a text: where it stands, its digits, and whether it is a percentage."""

    start: int
    end: int
    digits: str
    percent: bool


def operands(text: str) -> list[Operand]:
    """The numbers in a text in order, also those written as words."""
    found = [
        Operand(match.start(), match.end(), "-" * bool(match[1]) + match[2].replace(",", ""), bool(match[3]))
        for match in _NUMBER.finditer(text)
    ]
    found += [
        Operand(match.start(), match.end(), _NAMED[match[1].casefold()], percent=False)
        for match in _NAMED_NUMBER.finditer(text)
    ]
    return sorted(found)


def content_words(text: str) -> list[str]:
    """The words that carry meaning, in order, as they are written."""
    words = re.findall(r"[^\W_]+(?:['’][^\W_]+)?", text)  # noqa: RUF001 - people write it
    return [word for word in words if word.casefold() not in _EMPTY]


def deed(text: str) -> str | None:
    """The verb by which a text wants something done, such as "delete", rather than found out; None without one."""
    match = _DEED.search(text)
    return (match[1] or match[2]).casefold() if match else None


def refers_back(text: str) -> bool:
    """Whether a text needs what was said before it: it opens with "and", or points before it has named anything."""
    points = _POINTS_BACK.search(text)
    before = content_words(text[: points.start()]) if points else [text]
    return bool(_GOES_ON.match(text)) or all(word.casefold() in _RECKONING or word.isdigit() for word in before)


def stem(word: str) -> str:
    """A word without the ending of its plural: crude, but the same on both sides of a comparison."""
    word = word.casefold()
    for ending, rest in (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("s", "")):
        if word.endswith(ending) and len(word) > len(ending) + 2 and not word.endswith("ss"):
            return word.removesuffix(ending) + rest
    return word


def stems(text: str) -> set[str]:
    """The stems of all words in a text or in a name with underscores."""
    return {stem(word) for word in re.findall(r"[^\W_]+", text)}


def mentions(text: str, name: str) -> bool:
    """Whether every word of a name, such as that of a column, occurs in a text."""
    words = stems(name)
    return bool(words) and words <= stems(text)


def joined(inputs: Mapping[str, str]) -> str:
    """The results of earlier milestones as one text."""
    return "\n".join(text.strip() for text in inputs.values() if text.strip())


def sentences(text: str) -> list[str]:
    """The sentences and lines of a passage, without markup and headings in brackets."""
    plain = re.sub(r"^\[[^\]\n]*\]$", "", text, flags=re.MULTILINE)
    plain = re.sub(r"[*_`#>]+", "", plain)
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-|]|\d+\.) ?)", plain)
    found = [part for block in blocks for part in re.split(r"(?<=[.!?])\s+(?=[A-Z0-9\"'(])", " ".join(block.split()))]
    return list(dict.fromkeys(part.strip(" -|") for part in found if len(part.split()) > 2))


def nearest_sentences(question: str, text: str, most: int = 3) -> list[str]:
    """The sentences that share most with a question, rare words counting more; fewer where one stands out."""
    found = sentences(text)
    known = [stems(sentence) for sentence in found]
    weights = {
        word: math.log(1 + len(found) / count)
        for word in {stem(word) for word in content_words(question)}
        if (count := sum(word in words for words in known))
    }
    scores = [sum(weight for word, weight in weights.items() if word in words) for words in known]
    best = max(scores, default=0.0)
    ranked = sorted(zip(scores, found, strict=True), key=lambda pair: -pair[0])
    return [sentence for score, sentence in ranked[:most] if best > 0 and score >= 0.75 * best]


def overlap(words: Iterable[str], text: str) -> int:
    """How many of the words occur in a text."""
    known = stems(text)
    return len({stem(word) for word in words} & known)
