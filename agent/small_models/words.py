"""What code can read in a text without a model: numbers, pronouns, requested actions, sentences, matching words."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

ANAPHORA = re.compile(
    r"\b(that|this|it|its|those|these|them|they|their|result|answer|total|figure|same|he|she|his|her)\b", re.IGNORECASE
)
"""Words that refer to something said before."""

POINTER = re.compile(
    r"\b(?:(?:that|this|those|these) (?!is\b|are\b|in\b|of\b|times\b|by\b)[a-z]+"
    r"|(?:the|that|this) (?:number|result|answer|total|figure|sum|amount|count)(?: of [a-z]+)?"
    r"|that|this|it|them|those|these)\b",
    re.IGNORECASE,
)
"""The whole phrase that stands for an earlier result."""

_NUMBER = re.compile(
    r"(?<![\w.])((?<![)%])(?<![\d)%] )-|negative )?[$€£]?"
    r"(\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)( ?%| percent\b)?(?![\d])",
    re.IGNORECASE,
)
_TWO_TO_TEN = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBER_WORDS = {"half": "0.5", "double": "2", "twice": "2", "triple": "3", "dozen": "12", "hundred": "100"}
_NUMBER_WORDS |= {word: str(number) for number, word in enumerate(_TWO_TO_TEN, start=2)}
_NUMBER_WORD = re.compile(rf"\b({'|'.join(_NUMBER_WORDS)})\b", re.IGNORECASE)
_STOP_WORD_LIST = """
a about an and any are as at be been by can could did do does each every find for from get give had has have how i if
in is it its kindly list look many me much my of on or our please say show so tell that the their them then there these
they this those to up us was we were what when where which who whom whose why will with would you your
"""
_STOP_WORDS = frozenset(_STOP_WORD_LIST.split())
_ACTIONS = """
arrange assign buy cancel compose create delete destroy draw erase forward hire insert install modify notify paint
reject remind remove rename replace reserve restart sell send sing submit translate update upload wipe write
"""
_ACTIONS_OR_NOUNS = """
approve block book call change charge cook copy design drop edit email fix invite invoice make message move open order
pay phone plan play post print publish purchase refund reset restock save schedule set ship start stop text transfer
"""
_OBJECT = "me|us|him|her|them|it|an?|the|all|any|every|each|some|this|that|these|those|my|our|your"
_LEAD_IN = "and|then|please|kindly|just|(?:can|could|will|would) you|(?:want|need|like)(?: you)? to"
_ACTION = re.compile(
    rf"(?:^|[.?!;:,]\s+|\b(?:{_LEAD_IN})\s+)"
    rf"(?:({'|'.join(_ACTIONS.split())})\b|({'|'.join(_ACTIONS_OR_NOUNS.split())})(?=\s+(?:(?:{_OBJECT})\b|\d)))",
    re.IGNORECASE,
)
_CONTINUATION = re.compile(r"\W*(?:and|or|but|also|then|same|(?:what|how) about)\b", re.IGNORECASE)
_PRONOUN = re.compile(
    r"\b(?:they|them|their|those|these|that|it(?!\b.*\bto\b)|its|he|him|his|she|her)\b", re.IGNORECASE
)
_ARITHMETIC_WORDS = frozenset(
    {"add", "count", "divide", "double", "half", "minus", "multiply", "plus", "subtract", "take"}
)


class Operand(NamedTuple):
    """A number in a text: its position, its digits, and whether it is a percentage."""

    start: int
    end: int
    digits: str
    percent: bool


def operands(text: str) -> list[Operand]:
    """Return the numbers in a text in order, including those written as words."""
    found = [
        Operand(match.start(), match.end(), "-" * bool(match[1]) + match[2].replace(",", ""), bool(match[3]))
        for match in _NUMBER.finditer(text)
    ]
    found += [
        Operand(match.start(), match.end(), _NUMBER_WORDS[match[1].casefold()], percent=False)
        for match in _NUMBER_WORD.finditer(text)
    ]
    return sorted(found)


def content_words(text: str) -> list[str]:
    """Return the words of a text that are no stop words, in order and as they are written."""
    words = re.findall(r"[^\W_]+(?:['’][^\W_]+)?", text)  # noqa: RUF001 - people write it
    return [word for word in words if word.casefold() not in _STOP_WORDS]


def requested_action(text: str) -> str | None:
    """Return the verb of a request to change something, such as "delete"; None for a question."""
    match = _ACTION.search(text)
    return (match[1] or match[2]).casefold() if match else None


def refers_back(text: str) -> bool:
    """Tell whether a text needs an earlier one: it opens with "and", or with a pronoun before it has named anything."""
    pronoun = _PRONOUN.search(text)
    before = content_words(text[: pronoun.start()]) if pronoun else [text]
    return bool(_CONTINUATION.match(text)) or all(w.casefold() in _ARITHMETIC_WORDS or w.isdigit() for w in before)


def stem(word: str) -> str:
    """Strip the ending of the plural: crude, but the same on both sides of a comparison."""
    word = word.casefold()
    for ending, rest in (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("s", "")):
        if word.endswith(ending) and len(word) > len(ending) + 2 and not word.endswith("ss"):
            return word.removesuffix(ending) + rest
    return word


def stems(text: str) -> set[str]:
    """Return the stems of all words in a text, or in a name with underscores."""
    return {stem(word) for word in re.findall(r"[^\W_]+", text)}


def mentions(text: str, name: str) -> bool:
    """Tell whether every word of a name, such as that of a column, occurs in a text."""
    words = stems(name)
    return bool(words) and words <= stems(text)


def overlap(words: Iterable[str], text: str) -> int:
    """Count the words that occur in a text."""
    return len({stem(word) for word in words} & stems(text))


def joined(inputs: Mapping[str, str]) -> str:
    """Return the results of earlier milestones as one text."""
    return "\n".join(text.strip() for text in inputs.values() if text.strip())


def sentences(text: str) -> list[str]:
    """Return the sentences and lines of a passage, without markup and without headings in brackets."""
    plain = re.sub(r"^\[[^\]\n]*\]$", "", text, flags=re.MULTILINE)
    plain = re.sub(r"[*_`#>]+", "", plain)
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-|]|\d+\.) ?)", plain)
    found = [part for block in blocks for part in re.split(r"(?<=[.!?])\s+(?=[A-Z0-9\"'(])", " ".join(block.split()))]
    return list(dict.fromkeys(part.strip(" -|") for part in found if len(part.split()) > 2))


def nearest_sentences(question: str, text: str, most: int = 3) -> list[str]:
    """Return the sentences that share most words with a question, weighted by inverse document frequency.

    Args:
        question: What the sentences are compared with.
        text: The passage they come from.
        most: How many to return; those that score far below the best one are left out.
    """
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
