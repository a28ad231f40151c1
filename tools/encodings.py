"""Encodings of text files, found in their bytes."""

import codecs
import re
import unicodedata

_MARKED = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # it begins like UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CANDIDATES = ["cp1252", "cp932", "euc_jp", "gb18030", "big5", "cp949", "cp874", "cp1251", "cp1253", "cp1255", "cp1256"]
"""Encodings whose texts cannot easily be taken for each other. Central European texts are tried last, because they
can: every Western European text is one, too."""
_SAMPLE = 65_536
"""The bytes that are looked at, from the first that is not ASCII."""
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a]")
_LATIN = re.compile(rb"(?<=[A-Za-z])[\xc0-\xff](?![\x80-\xff])")
"""A letter with a mark, by itself behind another letter; other alphabets and East Asian texts have few of them."""
_MOST_HALF_WIDTH = 0.25
"""Shift JIS can spell almost anything as half-width katakana, which hardly anyone writes."""


def detect_encoding(content: bytes) -> str:
    """Find the encoding of a text: UTF-8, UTF-16, UTF-32, or one of those that Windows and East Asia used before.

    Args:
        content: The bytes of the text, or its beginning.

    Returns:
        A name that `bytes.decode` takes; "cp1252" where there is nothing to go by.
    """
    for mark, encoding in _MARKED:
        if content.startswith(mark):
            return encoding
    sample = content[:_SAMPLE]
    is_utf8 = _is_utf8(content)
    controls = len(_CONTROLS.findall(sample))  # half of a letter in UTF-16 is one, or a zero is, somewhere
    if controls > (len(sample) * 0.1 if is_utf8 else 0) and (wide := _wide(sample)):
        return wide
    return "utf-8" if is_utf8 else _older(content)


def decode(content: bytes) -> str:
    """Decode a text, whatever its encoding; what cannot be decoded becomes a replacement character."""
    return content.decode(detect_encoding(content), "replace")


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
        return True
    except UnicodeDecodeError as error:  # the beginning of a text may end in the middle of a character
        return error.reason == "unexpected end of data" and not content[: error.start].isascii()


def _wide(sample: bytes) -> str | None:
    """UTF-16 without a mark: the order of bytes that gives more line ends, spaces and the like, in every script."""
    counts = {}
    for encoding in ("utf-16-le", "utf-16-be"):
        text = sample[: len(sample) // 2 * 2].decode(encoding, "replace")
        odd = sum(unicodedata.category(each) in {"Cc", "Cn", "Co"} for each in text if each not in "\n\r\t")
        if odd + text.count("\ufffd") <= 1 + len(text) // 100:
            counts[encoding] = len(re.findall("[\t\n\r -~\u3000-\u3002]", text))
    return max(counts, key=lambda encoding: counts[encoding], default=None)


def _older(content: bytes) -> str:
    from charset_normalizer import from_bytes

    first = re.search(rb"[\x80-\xff]", content)
    start = max(0, first.start() - 1_000) if first else 0
    sample = content[start : start + _SAMPLE]
    if start + _SAMPLE < len(content):  # a sample must not end in the middle of a character
        sample = sample[: sample.rfind(b"\n") + 1 or sample.rfind(b" ") + 1 or None]
    if 2 * len(_LATIN.findall(sample)) > len(re.findall(rb"[\x80-\xff]", sample)):
        return "cp1252"
    for candidates in (_CANDIDATES, ["cp1250"]):
        for match in from_bytes(sample, cp_isolation=candidates):
            text = str(match)
            if len(re.findall("[\uff61-\uff9f]", text)) <= _MOST_HALF_WIDTH * len(text):
                return match.encoding
    return "cp1252"
