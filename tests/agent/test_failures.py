"""How what a model's call raises is classed."""

import httpx
import pytest

from plan_execute.agent.errors import ModelError
from plan_execute.agent.failures import classify_error, describe_error


class ProviderError(Exception):
    """What providers raise: an error with a status code."""

    def __init__(self, status_code: int) -> None:
        super().__init__(f"status {status_code}")
        self.status_code = status_code


class RateLimitError(Exception):
    """What some providers raise instead: only a name."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ProviderError(429), "transient"),
        (ProviderError(503), "transient"),
        (ProviderError(401), "model_unavailable"),
        (NotImplementedError(), "model_unavailable"),
        (ProviderError(400), "unknown"),
        (TimeoutError(), "transient"),
        (httpx.ReadTimeout("slow"), "transient"),
        (ConnectionResetError(), "transient"),
        (RateLimitError(), "transient"),
        (ModelError("no key"), "model_unavailable"),
        (ValueError("x"), "unknown"),
    ],
)
def test_error_is_classed(error: Exception, code: str) -> None:
    assert classify_error(error) == code


def test_error_is_described_in_one_capped_line() -> None:
    assert describe_error(ValueError("a\n  b")) == "ValueError: a b"
    assert len(describe_error(ValueError("x" * 9_000))) == 300
    assert describe_error(ModelError("Set the key.")) == "Set the key."
