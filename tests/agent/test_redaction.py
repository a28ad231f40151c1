"""Secrets are left out of every text, and nothing else is."""

import pytest

from plan_execute.agent.redaction import find_secrets
from plan_execute.agent.truncation import json_safe, sanitize

SECRETS = [
    "sk-proj-aaaaaaaaaaaaaaaaaaaaaaaa",
    "ghp_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "xoxb-1234567890-abcdef",
    "AKIAABCDEFGHIJKLMNOP",
    "AIzaSyA-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijk",
]
IN_PLACE = [
    ("postgresql://ada:{}@host/db", "hunter2"),
    ("https://ada:{}@host/path?q=1", "p%40ss"),
    ("Authorization: Bearer {}", "abcdef.123456"),
    ("https://host/a?api_key={}&q=1", "abc123"),
    ("-----BEGIN RSA PRIVATE KEY-----{}-----END RSA PRIVATE KEY-----", "\nMIIEabc\n123=\n"),
]


@pytest.mark.parametrize(("text", "secret"), [*IN_PLACE, *(("see {} there", secret) for secret in SECRETS)])
def test_what_is_written_like_a_secret_is_redacted_and_nothing_around_it(text: str, secret: str) -> None:
    assert sanitize(text.format(secret)) == text.format("[redacted]")
    assert json_safe({"a": [text.format(secret)]}) == {"a": [text.format("[redacted]")]}


@pytest.mark.parametrize(
    "text",
    [
        "the bearer of bad news",
        "task-oriented, risk-averse, desk-bound-all-day-long",
        "http://localhost:8080/a@b and me@example.org",
        "mailto:me@example.org, https://host/?key=home&page=2",
        "a/sk-abcdefghijklmnopqrstuvwx+AIzaSyAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",  # base64
    ],
)
def test_text_that_only_looks_like_it_stays(text: str) -> None:
    assert sanitize(text) == text


def test_secrets_of_the_environment_are_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_API_KEY", "canary-one")
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:canary%40two@host/db")
    monkeypatch.setenv("MONKEY", "monkeyvalue")
    monkeypatch.setenv("SHORT_TOKEN", "abc")
    find_secrets()
    assert sanitize("canary-one canary@two canary%40two monkeyvalue abc") == (
        "[redacted] [redacted] [redacted] monkeyvalue abc"
    )
    monkeypatch.undo()
    find_secrets()
    assert sanitize("canary-one") == "canary-one"
