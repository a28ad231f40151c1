"""Redaction: the secrets of the environment, and what is written like one, are left out of every text."""

import os
import re
from urllib.parse import unquote, urlsplit

REDACTED = "[redacted]"
"""What stands for a secret."""
SHORTEST_SECRET = 8
"""Fewest characters of a value of the environment that is taken for a secret."""
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:API|AUTH|ACCESS|PG)?(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL)S?$", re.IGNORECASE
)
_SECRET_FORMS: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...] = (
    (("://",), re.compile(r"(?<=://)(?P<keep>[^\s:/?#@\"'<>]*:)[^\s/?#\"'<>]+(?=@)")),
    (("earer ",), re.compile(r"(?P<keep>\b[Bb]earer )[\w.~+/=-]{8,}")),
    (("asic ",), re.compile(r"(?P<keep>\bAuthorization: [Bb]asic )[\w+/=]{8,}")),
    (("sk-", "sk_", "rk_"), re.compile(r"(?<![\w+/-])(?P<keep>)(?:sk-[\w-]{16,}|[sr]k_(?:live|test)_\w{16,})")),
    (("gh", "glpat-"), re.compile(r"(?<![\w+/-])(?P<keep>)(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,})")),
    (("xox", "xapp-"), re.compile(r"(?<![\w+/-])(?P<keep>)(?:xox[a-z]-|xapp-)[\w-]{10,}")),
    (("AKIA", "ASIA"), re.compile(r"(?<![\w+/-])(?P<keep>)A[KS]IA[A-Z0-9]{16}\b")),
    (("AIza",), re.compile(r"(?<![\w+/-])(?P<keep>)AIza[\w-]{30,}")),
    (("hf_", "lsv2_"), re.compile(r"(?<![\w+/-])(?P<keep>)(?:hf_\w{20,}|lsv2_\w{20,})")),
    (("eyJ",), re.compile(r"(?<![\w+/-])(?P<keep>)eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+")),
    (
        ("PRIVATE KEY-",),
        re.compile(r"(?P<keep>-----BEGIN [A-Z ]*PRIVATE KEY-----)[^-]+(?:(?=-----END)|\Z)"),
    ),
    (
        ("key=", "token=", "secret=", "password="),
        re.compile(
            r"(?P<keep>[?&](?:api[-_]?key|access[-_]?(?:key|token)|auth[-_]?token|token|(?:client[-_])?secret|password)=)"
            r"[^&\s\"'<>]+",
            re.IGNORECASE,
        ),
    ),
)
"""How secrets are written in texts, each form after what such a text contains; `keep` is what stays of it.

None matches within base64, in which pictures and the signatures of models come.
"""
_HINTS = [(hint, form) for hints, form in _SECRET_FORMS for hint in hints]
_secrets: list[str] = []


def find_secrets() -> None:
    """Read the secrets of the environment again: values whose name says so, and passwords in URLs."""
    found = set()
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name):
            found.add(value.strip())
        elif "://" in value:
            found |= _passwords_in(value)
    _secrets[:] = sorted((secret for secret in found if len(secret) >= SHORTEST_SECRET), key=len, reverse=True)


def _passwords_in(url: str) -> set[str]:
    try:
        password = urlsplit(url).password or ""
    except ValueError:
        return set()
    return {password, unquote(password)}


def redact(text: str) -> str:
    """Put `REDACTED` in place of the secrets of the environment and of what is written like a secret."""
    if len(text) < SHORTEST_SECRET:
        return text
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, REDACTED)
    for hint, form in _HINTS:
        if hint in text:
            text = form.sub(rf"\g<keep>{REDACTED}", text)
    return text


find_secrets()
