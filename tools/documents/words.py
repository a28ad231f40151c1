"""Words as the full-text index has them, in every script."""

import re
import unicodedata

TOKENIZER = "porter unicode61 remove_diacritics 2 categories 'L* M* N* Co'"
"""How FTS5 splits what `fold` returns: marks belong to words, as vowels do in the scripts of India."""
MAX_QUERY = 1_000
"""Most characters of a query that count."""
MAX_WORDS = 80
"""Most words and phrases that a query is made of."""

_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3005-\u3007\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # kana
    "\u1100-\u11ff\uac00-\ud7ff"  # Korean has spaces, but particles follow its words without one
    "\u3100-\u312f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
)
_EACH = re.compile(f"[{_SPACELESS}]")
_RUN = re.compile(f"[{_SPACELESS}]+")
_PAIRS = re.compile(f"(?=([{_SPACELESS}]{{2}}))")
_WORD = re.compile(rf"(?:[^\W_{_SPACELESS}]|[\u0300-\u036f\u0900-\u0dff])+")
_SIGNS = re.compile(r"(?<=\w)(\+\+|#)")
"""What is part of a name: C++, C#."""
_MEANINGFUL = {ord("\0"): " ", ord('"'): " "}
"""Characters that SQLite, or FTS5's language of queries, would read."""
_STOP_WORDS = """a about all an and any are as at be by can did do does each every find for from get give has have how
i if in is it its many me much my of on one or our out per say search tell than that the their them then
there they this to up us was we were what when where which who whose why will with would you your"""


def fold(text: str) -> str:
    """Prepare a text for the index: one form for each character, and a space around those of scripts without spaces."""
    return _apart(_normal(text))


def match_expression(query: str) -> str:
    """Write a query as an FTS5 expression that any of its words, and any two adjacent characters, satisfies.

    The query and what stands between its spaces are looked for as wholes as well, so that `max_replans`, 3.11.2 and
    sentences rank first where they occur as they are. No character of the query has a meaning of its own.
    """
    words: list[str] = []
    for whole in map(_normal, query[:MAX_QUERY].split()):
        inside = [*_WORD.findall(whole), *(_PAIRS.findall(whole) or _EACH.findall(whole))]
        words += [*inside, whole] if len(inside) > 1 else inside
    phrases = [_normal(query[:MAX_QUERY]), *([word for word in words if word not in _STOP_WORDS.split()] or words)]
    return " OR ".join(f'"{_apart(phrase)}"' for phrase in list(dict.fromkeys(phrases))[:MAX_WORDS])


def _normal(text: str) -> str:
    plain = text.encode("utf-8", "replace").decode("utf-8")
    folded = unicodedata.normalize("NFKC", plain).translate(_MEANINGFUL).casefold()
    return _SIGNS.sub(lambda sign: " plusplus " if sign[0] == "++" else " sharp ", folded)


def _apart(text: str) -> str:
    return _RUN.sub(lambda run: f" {' '.join(run[0])} ", text)
