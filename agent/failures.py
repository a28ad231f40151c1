"""Classes of failure: one code for what went wrong, which decides what happens next."""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from json import JSONDecodeError
from typing import Any

import httpx
from langchain_core.messages import AIMessage
from langchain_core.tools import ToolException

from plan_execute.agent.codes import FailureCode
from plan_execute.agent.errors import ModelError
from plan_execute.agent.interrupts import active_checkpointer
from plan_execute.agent.truncation import sanitize

MEANINGS: dict[FailureCode, str] = {
    "transient": "the service did not answer this time",
    "model_unavailable": "the model cannot be used",
    "timeout": "it ran out of time; whether a call under way had an effect is unknown",
    "outcome_unknown": "a call that changes the world did not return; whether it had an effect is unknown",
    "bad_arguments": "a tool was called with arguments it does not take",
    "missing": "information is missing",
    "not_found": "what it looked for does not exist",
    "permission": "access is not allowed",
    "unexpected_state": "what was found contradicts the plan",
    "no_evidence": "success was claimed without a successful call of a granted tool",
    "no_value": "it was reported as done, but not with the values it should pass on",
    "no_report": "the executor ended without a report",
    "unverified": "it was reported as done, but the evidence does not show that it is done",
    "limit": "it reached the limit of calls or of the model's context, so it is too broad: split it",
    "refusal": "the model refused",
    "failed": "it was tried and failed",
    "unknown": "it failed for an unknown reason",
}
"""What each class means, for prompts and messages."""

BACKOFF = 0.5
"""Seconds to wait after the first transient failure; doubled after each further one."""
LONGEST_WAIT = 60.0
"""Most seconds to wait, whatever a service asks for."""

_TRANSIENT_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_UNDECIDED_STATUS = frozenset({408, 500, 502, 504})
"""Statuses after which the service may have done what it was asked to do."""
_TRANSIENT_NAMES = frozenset(
    {
        *("APIConnectionError", "APITimeoutError", "RateLimitError", "InternalServerError"),
        *("ConnectionError", "Timeout", "ConnectTimeout", "ReadTimeout", "ClientConnectionError"),
        *("ModelRateLimitError", "ModelAPIError", "ModelConnectionError", "ModelTimeoutError"),
        *("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError"),
    }
)
"""Names that providers, LangChain, requests, aiohttp and botocore give to transient errors."""
_REFUSAL_NAMES = frozenset({"ModelRefusalError", "ContentFilterFinishReasonError"})
_STATUS_BY_NAME = {
    "ModelInvalidRequestError": 400,
    "ModelAuthenticationError": 401,
    "ModelPermissionDeniedError": 403,
    "ModelNotFoundError": 404,
    "ModelRateLimitError": 429,
}
"""The statuses behind LangChain's own error classes."""
_ABOUT_CONTENT = frozenset({None, 200, 400, 403, 422})
_ABOUT_SIZE = frozenset({None, 200, 400, 413, 422, 500})
_ABOUT_RATE = frozenset({None, 413, 429})
"""Statuses with which services refuse what was said, how much, and how much a minute."""
_REFUSED = re.compile(
    r"content[ _]?(filter|polic|management)|responsible ?ai|usage polic|was flagged|prohibited_content"
    r"|requires moderation|blocked by (a |the )?(safety|guardrail|content)|guardrail_intervened|safety system",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context[ _-]?(length|window|size)|(prompt|input|request)[ _](is |was )?too[ _](long|large)"
    r"|input tokens? (exceed|count)|too many (input )?tokens|maximum number of tokens|too large for model"
    r"|exceed model maximum|exceeds? (the )?context|when context the overflows",
    re.IGNORECASE,
)
_NEVER_FITS = re.compile(r"request too large for", re.IGNORECASE)
"""What OpenAI and Groq say, under the code of a rate limit, of a prompt that alone exceeds it."""
_UNUSABLE = re.compile(
    r"insufficient[ _]quota|credit balance|api[ _]?key (is )?(not valid|invalid|expired)|(invalid"
    r"|incorrect) api[ _]?key"
    r"|invalid model\b|model identifier|model_(not_found|decommissioned)|on-demand throughput"
    r"|location is not supported|requires more system memory",
    re.IGNORECASE,
)
_NO_TOOLS = re.compile(
    r"(does not|doesn't|not) support (tool|function)|support tool use|tool choice requires"
    r"|function calling is not (enabled|supported)",
    re.IGNORECASE,
)
_OVERLOADED = re.compile(
    r"^(rate_?limit\w*|too_?many_?requests\w*|throttl\w*|overloaded\w*|resource_exhausted"
    r"|(service)?unavailable\w*|(api|server)_error|internal\w*"
    r"|deadline_exceeded|model(error|timeout|notready|streamerror)\w*)$",
    re.IGNORECASE | re.MULTILINE,
)
"""Codes of a service that may answer another time."""
_NO_REPLY = re.compile(r"no generations found in stream|null value for .?choices|server busy", re.IGNORECASE)
"""What clients and servers say of a reply that broke off, or never began."""
_CODE_IN_WORDS = re.compile(r"^(\w+): |\bcode='(\w+)'")
"""Where clients that raise only words put the code."""
_BUSY = re.compile(
    r"too many requests|rate[ _-]?limit(s|ed)? (was |were |is |has been )?(exceeded|reached|hit)|rate[ _-]limited"
    r"|exceeded (your |the )?(rate|quota)|throttl(ed|ing)|service (is )?(temporarily )?unavailable|bad gateway"
    r"|gateway time-?out"
    r"|\b(http|status|error|code)\W{0,3}(code)?\W{0,3}(429|502|503|504|529)\b",
    re.IGNORECASE,
)
"""What tools say of a service that may answer another time."""
_WAIT = re.compile(
    r"(?:(?:try again|retry)\s+(?:in|after)|retrydelay\W+)\s*"
    r"((?:[\d.]*\d\s*(?:ms|s|m|h)(?:ec\w*|in\w*|our\w*)?\s*)+)",
    re.IGNORECASE,
)
"""What services say of how long to wait."""
_PART = re.compile(r"([\d.]*\d)\s*(ms|s|m|h)", re.IGNORECASE)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_ENDINGS = ("finish_reason", "stop_reason", "stopReason", "done_reason")
"""Where integrations keep why a reply ended."""
CONTEXT_USED_UP = "model_context_window_exceeded"
"""How Claude ends a reply for which its context has no more room."""
_REFUSED_ENDINGS = frozenset(
    {"content_filter", "content_filtered", "refusal", "safety", "recitation", "prohibited_content", "blocklist", "spii"}
    | {"guardrail_intervened", "image_safety"}
)


def classify_error(error: BaseException) -> FailureCode:
    """Classify what a model call raised; providers share no base class, so codes, statuses, names and words decide."""
    if isinstance(error, ModelError | NotImplementedError):
        return "model_unavailable"
    status, said, names = http_status(error), _said(error), _names(error)
    if names & _REFUSAL_NAMES or (status in _ABOUT_CONTENT and _REFUSED.search(said)):
        return "refusal"
    if "ContextOverflowError" in names or (status in _ABOUT_RATE and _NEVER_FITS.search(said)):
        return "limit"
    if _OVERLOADED.search(_codes(error)):
        return "transient"
    if status in _ABOUT_SIZE and _TOO_LONG.search(said):
        return "limit"
    if (_UNUSABLE.search(said) or _NO_TOOLS.search(said)) and (status is None or 400 <= status <= 500):
        return "model_unavailable"
    if _is_transient(error) or (status is None and _NO_REPLY.search(said)):
        return "transient"
    if status is not None:
        if status in _TRANSIENT_STATUS or 200 <= status < 300:
            return "transient"
        return "model_unavailable" if status in {401, 402, 403, 404} else "unknown"
    return "unknown"


def classify_tool_error(error: BaseException) -> FailureCode:
    """Classify what a tool raised."""
    status = http_status(error)
    if isinstance(error, PermissionError) or status in {401, 403}:
        return "permission"
    if isinstance(error, FileNotFoundError) or type(error) is LookupError or status in {404, 410}:
        return "not_found"
    if status in _TRANSIENT_STATUS or _OVERLOADED.search(_codes(error)):
        return "transient"
    if isinstance(error, ValueError | TypeError) or status in {400, 422}:
        return "bad_arguments"
    if _is_transient(error):
        return "transient"
    return classify_tool_text(error_text(error), "failed") if isinstance(error, ToolException) else "unknown"


def classify_tool_text(text: str, otherwise: FailureCode) -> FailureCode:
    """Classify an error that a tool, such as one of an MCP server, reports only as text.

    Args:
        text: What it reports.
        otherwise: The class where the text names no rate limit or outage.
    """
    return "transient" if _BUSY.search(text) else otherwise


def lacks_tools(error: BaseException) -> bool:
    """Tell whether a service says that its model takes no tools, which is a matter of the form of a question."""
    return _NO_TOOLS.search(_said(error)) is not None


def refusal_in(message: AIMessage) -> str | None:
    """Say why a reply without text or calls is a refusal, by what its provider says; None if it is none."""
    metadata, words = message.response_metadata, message.additional_kwargs.get("refusal")
    blocks = message.content if isinstance(message.content, list) else []
    words = words or next(
        (block["refusal"] for block in blocks if isinstance(block, dict) and "refusal" in block), None
    )
    if words:
        return str(words)
    feedback = metadata.get("prompt_feedback")
    if isinstance(feedback, Mapping) and (reason := feedback.get("block_reason")):
        return f"the provider blocked the prompt ({getattr(reason, 'name', reason)})"
    ending = ending_of(message)
    if ending not in _REFUSED_ENDINGS or message.tool_calls:
        return None
    detail = metadata.get("finish_message")
    return f"the provider stopped the reply ({ending})" + (f": {detail}" if detail else "")


def ending_of(message: AIMessage) -> str:
    """Return why a reply ended, as its provider says it, in lower case; empty if it does not say."""
    metadata = message.response_metadata
    details = metadata.get("incomplete_details")  # of OpenAI's Responses API
    reason = details.get("reason") if isinstance(details, Mapping) else None
    return str(reason or next((metadata[key] for key in _ENDINGS if metadata.get(key)), "")).lower()


def is_checkpointer_error(error: BaseException) -> bool:
    """Tell whether the run's own checkpointer raised an error: the run then stops at its last checkpoint.

    What the checkpointer of another graph raises, which a tool may have called, is a failure of that tool.
    """
    checkpointer, trace = active_checkpointer(), error.__traceback__
    while checkpointer is not None and trace is not None:
        if trace.tb_frame.f_locals.get("self") is checkpointer:
            return True
        trace = trace.tb_next
    return False


def leaves_outcome_unknown(error: BaseException) -> bool:
    """Tell whether a tool may have had its effect although it raised this: no response, or one that does not say."""
    if isinstance(error, ConnectionRefusedError | httpx.ConnectError | httpx.ConnectTimeout):
        return False  # the request was never sent
    status = http_status(error)
    return status in _UNDECIDED_STATUS if status is not None else _is_transient(error)


def retry_after(error: BaseException) -> float | None:
    """Read the seconds that a service asks to wait, from headers, details or words; None if it does not say."""
    for cause in _causes(error):
        headers = {str(name).lower(): value for name, value in _headers(cause).items()}
        if (wait := _seconds(headers.get("retry-after-ms"))) is not None:
            return wait / 1000
        if (wait := _seconds(headers.get("retry-after"))) is not None:
            return wait
    if found := _WAIT.search(_said(error)):
        return sum(float(number) * _UNITS[unit.lower()] for number, unit in _PART.findall(found[1]))
    return None


def retry_delay(asked_for: float | None, failures: int) -> float:
    """Return the seconds to wait after so many failures in a row: what the service asked for, else our backoff."""
    return min(BACKOFF * 2 ** (failures - 1) if asked_for is None else asked_for, LONGEST_WAIT)


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status that a call ended with, in whatever shape its client keeps it; None if there is none."""
    for cause in _causes(error):
        response = getattr(cause, "response", None)
        places = [getattr(cause, name, None) for name in ("status_code", "code", "status")]
        places.append(getattr(response, "status_code", None))
        if isinstance(response, Mapping):  # botocore's
            places.append(response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
        for status in places:
            if (number := _status(status)) is not None:
                return number
    for body in _bodies(error):
        if isinstance(body, Mapping) and (number := _status(_innermost(body).get("code"))) is not None:
            return number
    names = _names(error)
    return next((status for name, status in _STATUS_BY_NAME.items() if name in names), None)


def describe_error(error: BaseException, limit: int = 300) -> str:
    """Describe an exception in one line of at most `limit` characters: its class, and the provider's own reason."""
    text, name = " ".join((_reason(error) or error_text(error)).split()), type(error).__name__
    line = text if isinstance(error, ModelError) and text else f"{name}: {text}" if text else name
    return line if len(line) <= limit else line[: limit - 1] + "…"


def error_text(error: BaseException) -> str:
    """Return the message of an exception; empty if its `__str__` raises."""
    try:
        return sanitize(str(error))
    except Exception:  # noqa: BLE001 - a class may have any __str__
        return ""


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, TimeoutError | ConnectionError | httpx.TransportError | JSONDecodeError):
        return True
    return bool(_names(error) & _TRANSIENT_NAMES)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those it was raised from: clients wrap those of their transport."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen and len(seen) < 5:
        seen.append(cause)
        yield cause
        group = cause.exceptions if isinstance(cause, BaseExceptionGroup) else ()
        cause = group[0] if group else cause.__cause__


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for cause in _causes(error) for kind in type(cause).__mro__}


def _headers(error: BaseException) -> Mapping[str, Any]:
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        headers = response.get("ResponseMetadata", {}).get("HTTPHeaders")
    else:
        headers = getattr(response, "headers", None)
    return headers if isinstance(headers, Mapping) else {}


def _bodies(error: BaseException) -> Iterator[Any]:
    """Yield what a service sent with an error, as JSON or text: under `body`, `details`, or in its response."""
    for cause in _causes(error):
        response = getattr(cause, "response", None)
        yield getattr(cause, "body", None)
        yield getattr(cause, "details", None)
        yield from (argument for argument in cause.args[:1] if isinstance(argument, Mapping))
        if isinstance(response, Mapping):
            yield response.get("Error")
        elif isinstance(cause, httpx.HTTPStatusError) and cause.response.is_closed:
            try:
                yield cause.response.json()
            except (ValueError, httpx.ResponseNotRead):
                continue


def _innermost(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of what a service sent that says what is wrong."""
    inner = body.get("error")
    return inner if isinstance(inner, Mapping) else body


def _status(value: Any) -> int | None:
    """Read an HTTP status, which some services send as text."""
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) and 100 <= value < 600 else None


def _reason(error: BaseException) -> str | None:
    """Find the provider's own words in what it sent; None if it sent none."""
    for body in _bodies(error):
        said = body
        while isinstance(said, Mapping):
            lower = {str(key).lower(): value for key, value in said.items()}
            said = next((lower[key] for key in ("error", "message", "detail") if lower.get(key)), None)
            metadata = lower.get("metadata")  # in which a router keeps what the provider behind it said
            if isinstance(metadata, Mapping) and isinstance(metadata.get("raw"), str):
                said = metadata["raw"]
        if isinstance(said, str) and said.strip():
            return sanitize(said)
    return None


def _codes(error: BaseException) -> str:
    """Return the codes in which services name what is wrong, one a line."""
    codes: list[Any] = [getattr(cause, name, None) for cause in _causes(error) for name in ("code", "status", "type")]
    for body in _bodies(error):
        if isinstance(body, Mapping):
            items = _innermost(body).items()
            codes += [value for key, value in items if str(key).lower() in {"code", "type", "status"}]
    codes += [code for found in _CODE_IN_WORDS.findall(error_text(error)) for code in found if code]
    return "\n".join(code for code in codes if isinstance(code, str))


def _said(error: BaseException) -> str:
    """Return all that an exception and its causes say, codes and bodies included."""
    texts = [error_text(cause) for cause in _causes(error)]
    return "\n".join([*texts, *(str(body) for body in _bodies(error) if body), _codes(error)])[:20_000]


def _seconds(value: Any) -> float | None:
    """Read the value of a header that says how long to wait: seconds, or a date."""
    if value is None:
        return None
    try:
        seconds = float(value)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    except (ValueError, TypeError):
        pass
    try:
        return max(0.0, (parsedate_to_datetime(str(value)) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
