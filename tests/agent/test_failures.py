"""How what a model's call raises is classed."""

from typing import Any

import httpx
import openai
import pytest
from anthropic import APIStatusError
from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # it has no types
from google.genai.errors import APIError
from langchain_core.exceptions import ContextOverflowError, ModelNotFoundError, ModelRateLimitError
from langchain_core.messages import AIMessage
from langchain_core.tools import ToolException
from ollama import ResponseError

from plan_execute.agent.errors import ModelError
from plan_execute.agent.failures import (
    classify_error,
    classify_tool_error,
    classify_tool_text,
    describe_error,
    http_status,
    refusal_in,
    retry_after,
)


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


def _bedrock(code: str, message: str, status: int, **headers: str) -> ClientError:
    metadata: Any = {"HTTPStatusCode": status, "HTTPHeaders": headers}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}, "Converse")


def _google(status: int, name: str, message: str, *details: dict[str, str]) -> APIError:
    return APIError(status, {"error": {"code": status, "message": message, "status": name, "details": [*details]}})


def _anthropic(status: int, kind: str, message: str, **headers: str) -> APIStatusError:
    response: Any = httpx.Response(status, request=httpx.Request("POST", "http://x"), headers=headers)
    body = {"type": "error", "error": {"type": kind, "message": message}}
    return APIStatusError(message, response=response, body=body)


def _openai(status: int, message: str) -> openai.APIStatusError:
    response: Any = httpx.Response(status, request=httpx.Request("POST", "http://x"))
    body = {"message": message, "type": "tokens", "code": "rate_limit_exceeded"}
    return openai.APIStatusError(message, response=response, body=body)


def _mistral(status: int, text: str) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://x")
    response = httpx.Response(status, request=request, text=text)
    return httpx.HTTPStatusError(f"Error response {status}: {text}", request=request, response=response)


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (_bedrock("ThrottlingException", "Too many tokens.", 400), "transient", "Too many tokens."),
        (_bedrock("AccessDeniedException", "No access.", 403), "model_unavailable", "No access."),
        (_bedrock("ValidationException", "Input is too long for it.", 400), "limit", "Input is too long"),
        (_bedrock("ValidationException", "It doesn't support tool use.", 400), "model_unavailable", "tool use"),
        (_google(429, "RESOURCE_EXHAUSTED", "Quota."), "transient", "Quota."),
        (_google(400, "INVALID_ARGUMENT", "API key not valid."), "model_unavailable", "API key not valid."),
        (_anthropic(529, "overloaded_error", "Overloaded"), "transient", "Overloaded"),
        (_anthropic(200, "overloaded_error", "Overloaded"), "transient", "Overloaded"),
        (_anthropic(400, "invalid_request_error", "prompt is too long: 9 tokens"), "limit", "too long"),
        (_anthropic(400, "invalid_request_error", "Your credit balance is too low"), "model_unavailable", "credit"),
        (_anthropic(400, "invalid_request_error", "Output blocked by content filtering"), "refusal", "blocked"),
        (_openai(429, "Request too large for gpt-4o: Limit 30000, Requested 45000."), "limit", "Request too large"),
        (_openai(413, "Request too large for model `llama`: Limit 6000, Requested 7000."), "limit", "too large"),
        (_openai(429, "Rate limit reached for gpt-4o: Limit 30000, Used 29000."), "transient", "Rate limit reached"),
        (_mistral(422, '{"detail": "bad field"}'), "unknown", "bad field"),
        (_mistral(400, '{"error": "the context length is too small"}'), "limit", "context length"),
        (ResponseError("gemma does not support tools", 400), "model_unavailable", "does not support tools"),
        (ModelRateLimitError("slow down"), "transient", "slow down"),
        (ModelNotFoundError("no such model"), "model_unavailable", "no such model"),
        (ContextOverflowError("too much"), "limit", "too much"),
    ],
    ids=str,
)
def test_errors_of_real_clients_are_classed_and_keep_the_reason(error: Exception, code: str, reason: str) -> None:
    assert classify_error(error) == code
    assert reason in describe_error(error)


def test_status_is_found_behind_an_error_that_wraps_another() -> None:
    wrapped = RuntimeError("call failed")
    wrapped.__cause__ = _google(503, "UNAVAILABLE", "Later.")
    assert (http_status(wrapped), classify_error(wrapped)) == (503, "transient")


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (_anthropic(429, "rate_limit_error", "Wait.", **{"Retry-After": "7"}), 7),
        (_anthropic(429, "rate_limit_error", "Wait.", **{"retry-after-ms": "1500"}), 1.5),
        (_bedrock("ThrottlingException", "Wait.", 429, **{"retry-after": "4"}), 4),
        (_google(429, "RESOURCE_EXHAUSTED", "Quota.", {"retryDelay": "28s"}), 28),
        (_mistral(429, '{"message": "Please try again in 1m2.5s."}'), 62.5),
        (_anthropic(429, "rate_limit_error", "Wait.", **{"Retry-After": "nan"}), None),
        (ProviderError(429), None),
    ],
)
def test_wait_is_read_in_every_shape(error: Exception, seconds: float | None) -> None:
    assert retry_after(error) == seconds


@pytest.mark.parametrize("text", ["429 Too Many Requests", "Rate limit exceeded", "HTTP 503", "request was throttled"])
def test_rate_limit_in_words_of_a_tool_is_transient(text: str) -> None:
    assert classify_tool_text(text, "bad_arguments") == "transient"
    assert classify_tool_error(ToolException(text)) == "transient"


def test_other_words_of_a_tool_are_not() -> None:
    assert classify_tool_text("order 429 has no field 'rate'", "bad_arguments") == "bad_arguments"


@pytest.mark.parametrize(
    "metadata",
    [
        {"finish_reason": "content_filter"},
        {"stop_reason": "refusal"},
        {"finish_reason": "SAFETY"},
        {"stopReason": "guardrail_intervened"},
        {"prompt_feedback": {"block_reason": "OTHER"}},
    ],
)
def test_safety_endings_are_refusals(metadata: dict[str, Any]) -> None:
    assert refusal_in(AIMessage("", response_metadata=metadata))
    assert refusal_in(AIMessage("", response_metadata={"finish_reason": "stop"})) is None
