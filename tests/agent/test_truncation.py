"""A long text is shown in part and can be read whole."""

import pytest
from langchain_core.tools import ToolException

from plan_execute.agent.truncation import (
    SHOWN_LIMIT,
    STORED_LIMIT,
    find_secrets,
    json_safe,
    read_reference,
    sanitize,
    truncate_middle,
)


def test_long_text_is_cut_in_the_middle_and_says_so() -> None:
    cut = truncate_middle("a" * 5_000 + "b" * 5_000, 100, "m1")
    assert cut.startswith("a" * 50)
    assert cut.endswith("b" * 50)
    assert '9,900 characters left out; read on with read_result(reference="m1", offset=50)' in cut


def test_short_text_stays_as_it_is() -> None:
    assert truncate_middle("short", 5) == "short"


def test_whole_text_can_be_read_part_by_part() -> None:
    text = "".join(f"line {n}\n" for n in range(9_000))
    read, offset = "", 0
    while offset < len(text):
        part = read_reference({"r1": text}, "r1", offset)[:SHOWN_LIMIT].split("\n[...")[0]
        read, offset = read + part, offset + len(part)
    assert read == text


@pytest.mark.parametrize(
    ("reference", "offset", "said"), [("r9", 0, "there are: r1"), ("r1", 99, "offset from 0 to 4")]
)
def test_wrong_place_gets_a_sentence(reference: str, offset: int, said: str) -> None:
    with pytest.raises(ToolException, match=said):
        read_reference({"r1": "short"}, reference, offset)


def test_any_text_can_be_stored() -> None:
    assert sanitize("a\ud800b\x00") == "a?b?"
    assert len(sanitize("x" * 50_000_000)) < STORED_LIMIT + 200


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
