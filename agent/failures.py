"""Classes of failure: one code for what went wrong, which decides what happens next."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from json import JSONDecodeError

import httpx
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
    "no_report": "the executor ended without a report",
    "unverified": "it was reported as done, but the evidence does not show that it is done",
    "limit": "it reached the limit of calls, so it is too broad: split it",
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
    }
)
"""Names that providers, requests and aiohttp give to transient errors."""


def classify_error(error: BaseException) -> FailureCode:
    """Classify what a model call raised; providers share no base class, so status codes and names decide."""
    if isinstance(error, ModelError | NotImplementedError):
        return "model_unavailable"
    status = http_status(error)
    if status is not None:
        if status in _TRANSIENT_STATUS or 200 <= status < 300:
            return "transient"
        return "model_unavailable" if status in {401, 402, 403, 404} else "unknown"
    return "transient" if _is_transient(error) else "unknown"


def classify_tool_error(error: BaseException) -> FailureCode:
    """Classify what a tool raised."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, PermissionError) or status in {401, 403}:
        return "permission"
    if isinstance(error, FileNotFoundError) or type(error) is LookupError or status in {404, 410}:
        return "not_found"
    if isinstance(error, ValueError | TypeError) or status in {400, 422}:
        return "bad_arguments"
    if _is_transient(error) or status in _TRANSIENT_STATUS:
        return "transient"
    return "failed" if isinstance(error, ToolException) else "unknown"


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
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status in _UNDECIDED_STATUS if status is not None else _is_transient(error)


def retry_after(error: BaseException) -> float | None:
    """Read the seconds that a service asks to wait from its Retry-After header; None if it does not say."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    named = headers.items() if isinstance(headers, Mapping) else ()
    value = next((value for name, value in named if str(name).lower() == "retry-after"), None)
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def retry_delay(asked_for: float | None, failures: int) -> float:
    """Return the seconds to wait after so many failures in a row: what the service asked for, else our backoff."""
    return min(BACKOFF * 2 ** (failures - 1) if asked_for is None else asked_for, LONGEST_WAIT)


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status that a model call ended with; None where its provider does not say."""
    status = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def describe_error(error: BaseException, limit: int = 300) -> str:
    """Describe an exception in one line of at most `limit` characters: its class and its message."""
    text, name = " ".join(error_text(error).split()), type(error).__name__
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
    return bool({kind.__name__ for kind in type(error).__mro__} & _TRANSIENT_NAMES)
