"""What code can read in a text without a model: numbers, pronouns, requested actions, sentences, matching words."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

ANAPHORA = re.compile(
    r"\b(that|this|it|its|those|these|them|they|their|result|answer|total|figure|same|he|she|his|her)\b", re.IGNORECASE
)
"""Words that refer to something said before."""

POINTER = re.compile(
    r"\b(?:(?:that|this|those|these) "
    r"(?!(?:is|are|in|of|times|by|plus|minus|divided|multiplied|over|off|less|and|to|from)\b)[a-z]+"
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
FUNCTION_WORDS = frozenset(_STOP_WORD_LIST.split())
"""Words that say nothing of what a text is about."""
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
_POINTING_LIST = "he her him his it its she that their them then these they this those why"
_PASSAGE_LIST = """
according document documents during handbook into may might must per rule rules say says shall should within
"""
_PASSAGE_FILLERS = FUNCTION_WORDS.difference(_POINTING_LIST.split()).union(_PASSAGE_LIST.split())
_PRICE_WORDS = "charge charged cost dollar euro fee pay paid pound price"
"""Words that say the same in a question about a price."""
_PLACE = re.compile(r", (?:line|page|cell) \d+(?=: )")
"""Where in a document a passage was found: no word of what it is about."""
_DUMMY = re.compile(r"\b(does|do|is|will|would)\s+it\s+(cost|take|to)\b", re.IGNORECASE)
_HOW = re.compile(
    r"\bhow (?:many ([^\W\d_]+)|much|long|old|heavy|tall|far|fast|often|big|large)\b|\bwhat time\b", re.IGNORECASE
)
_ARITHMETIC_WORDS = frozenset(
    {"add", "count", "divide", "double", "half", "minus", "multiply", "plus", "subtract", "take"}
)


class UnsupportedGoalError(Exception):
    """A goal that no lookup would answer as it is asked; the message is a sentence that says why."""


def leaves_out(lookup: str, parts: Iterable[str]) -> UnsupportedGoalError:
    """Make the error for a lookup that would leave out parts of the goal."""
    *others, last = [repr(part) for part in dict.fromkeys(parts)]
    return UnsupportedGoalError(f"{lookup} would leave out {', '.join(others)}{' and ' * bool(others)}{last}.")


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
    return [word for word in words if word.casefold() not in FUNCTION_WORDS]


def left_over(
    text: str, used: Iterable[str], fillers: Collection[str], reduce: Callable[[str], str] | None = None
) -> list[str]:
    """Return the words of a text that nothing accounts for, as they are written.

    Args:
        text: The text; its numbers are not looked at.
        used: Words and names that were used.
        fillers: Words that restrict nothing, in lower case.
        reduce: What makes two words the same; `stem` if there is none.
    """
    reduce = reduce or stem
    known = {reduce(part) for name in used for part in re.findall(r"[^\W_]+", name)}
    plain = re.sub(r"['’]s\b", "", text.replace("_", " "))  # noqa: RUF001 - people write it
    plain = re.sub(r"(\w)n['’]t\b|\bcannot\b", r"\1 not", plain)  # noqa: RUF001
    words = re.findall(r"[^\W\d][^\W_]*|\d+[^\W\d]+", plain)
    return [word for word in words if word.casefold() not in fillers and reduce(word) not in known]


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


def root(word: str) -> str:
    """Strip the endings of verbs as well, so that "ship", "ships", "shipping" and "shipped" are the same."""
    word = stem(word)
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            word = word.removesuffix(ending)
            word = word[:-1] if word[-1] == word[-2] and word[-1] not in "ls" else word
    return word.removesuffix("e")


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


def answering_sentences(question: str, text: str) -> list[str]:
    """Return the sentences of some passages that speak of everything a question does.

    Args:
        question: The question.
        text: Passages, each below its heading in brackets.

    Returns:
        Those that have all words and numbers of the question; if there are none, those that have them together with
        their headings. "How much" and the like want a number, "how many days" a number of days.
    """
    plain = _DUMMY.sub(r"\1 \2", question)
    how = _HOW.search(plain)
    plain = _HOW.sub(" ", plain) if how and not how[1] else plain
    plain_words = left_over(plain, (), _PASSAGE_FILLERS)
    counted = _counted(plain)
    same = stem if re.match(r"\W*(?:is|are|was|were)\b", question, re.IGNORECASE) else root
    alone, below_heading = [], []
    for heading, passage in re.findall(r"(?:^\[([^\]\n]*)\]$)?((?:\n?^(?!\[[^\]\n]*\]$).*$)*)", text, re.MULTILINE):
        subject = _PLACE.sub("", heading)
        for sentence in sentences(passage):
            said = [sentence, _PRICE_WORDS if stems(_PRICE_WORDS) & stems(sentence) else ""]
            said += ["not"] if re.search(r"n['’]t\b|cannot", sentence) else []  # noqa: RUF001
            said += [] if "before" in stems(sentence) else ["after"]
            if (how and not _says_how(how, sentence)) or counted - _counted(sentence):
                continue
            missing = left_over(plain, said, _PASSAGE_FILLERS, same)
            if not missing:
                alone.append(sentence)
            elif 2 * len(missing) < len(plain_words) and not left_over(" ".join(missing), [subject], (), same):
                below_heading.append(sentence)
    return list(dict.fromkeys(alone or below_heading)) if any(word.islower() for word in plain_words) else []


def _counted(text: str) -> set[tuple[str, str]]:
    """The numbers in a text, each with the word behind it, which says what there are so many of."""
    nouns = [re.match(r"\s*([^\W\d_]*)", text[number.end :]) for number in operands(text)]
    return {(n.digits, root(noun[1]) if noun else "") for n, noun in zip(operands(text), nouns, strict=True)}


def _says_how(how: re.Match[str], sentence: str) -> bool:
    """Tell whether a sentence has the number that "how many days", "how long" or "how much" asks for."""
    if how[1] is None:
        return re.search(r"\d", sentence) is not None
    counted = re.findall(r"\d[\d.,]*\s+([^\W\d_]+)(?:\s+([^\W\d_]+))?", sentence)
    return any(root(how[1]) == root(word) for words in counted for word in words if word)
