"""Classes of failure: what went wrong, in a word that decides what happens next."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from json import JSONDecodeError

import httpx
from langchain_core.tools import ToolException

from plan_execute.agent.errors import ModelError
from plan_execute.agent.interrupts import active_checkpointer
from plan_execute.agent.state import FailureCode

MEANINGS: dict[FailureCode, str] = {
    "transient": "the service did not answer this time",
    "model_unavailable": "the model cannot be used",
    "timeout": "the time for it ran out; whether a call under way had an effect is unknown",
    "outcome_unknown": "a call that changes the world was cut short; whether it had an effect is unknown",
    "bad_arguments": "a tool was called with arguments it does not take",
    "missing": "information is missing",
    "not_found": "what was looked for does not exist",
    "permission": "access is not allowed",
    "unexpected_state": "what was found contradicts the plan",
    "no_evidence": "success was claimed without a successful call of a granted tool",
    "no_report": "the executor ended without a report",
    "unverified": "it was reported as done, but not shown to be done",
    "limit": "the limit of calls was reached, so it is too broad: split it",
    "refusal": "the model refused",
    "failed": "it was tried in vain",
    "unknown": "it failed for a reason nobody classified",
}
"""What each class means, for prompts and messages."""

BACKOFF = 0.5
"""Seconds before a second attempt after a failure that may pass by itself; doubled for each one more."""
LONGEST_WAIT = 60.0
"""The most of them, whatever a service asks for."""

_TRANSIENT_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_UNDECIDED_STATUS = frozenset({408, 500, 502, 504})
"""Those after which a service may have done what it was asked."""
_TRANSIENT_NAMES = frozenset(
    {
        *("APIConnectionError", "APITimeoutError", "RateLimitError", "InternalServerError"),
        *("ConnectionError", "Timeout", "ConnectTimeout", "ReadTimeout", "ClientConnectionError"),
    }
)
"""Names that providers, requests and aiohttp give to what may pass."""


def classify_error(error: BaseException) -> FailureCode:
    """Find the class of what a model's call raised; providers share no tree, so status codes and names decide."""
    if isinstance(error, ModelError | NotImplementedError):
        return "model_unavailable"
    status = http_status(error)
    if status is not None:
        if status in _TRANSIENT_STATUS or 200 <= status < 300:
            return "transient"
        return "model_unavailable" if status in {401, 402, 403, 404} else "unknown"
    return "transient" if _is_transient(error) else "unknown"


def classify_tool_error(error: BaseException) -> FailureCode:
    """Find the class of what a tool raised."""
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
    """Whether the run's checkpointer raised it: then it is nobody's failure, and the run stops where it was kept last.

    One of another graph, which a tool may have called, is that tool's failure.
    """
    checkpointer, trace = active_checkpointer(), error.__traceback__
    while checkpointer is not None and trace is not None:
        if trace.tb_frame.f_locals.get("self") is checkpointer:
            return True
        trace = trace.tb_next
    return False


def leaves_outcome_unknown(error: BaseException) -> bool:
    """Whether what a tool raised leaves it open if its work was done: no answer, or one that does not say it."""
    if isinstance(error, ConnectionRefusedError | httpx.ConnectError | httpx.ConnectTimeout):
        return False  # nobody was reached
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status in _UNDECIDED_STATUS if status is not None else _is_transient(error)


def retry_after(error: BaseException) -> float | None:
    """Seconds that a service asks to be left alone, from its Retry-After header; None if it does not say."""
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
    """Seconds to wait after so many failures in a row: what the service asks for, else ours."""
    return min(BACKOFF * 2 ** (failures - 1) if asked_for is None else asked_for, LONGEST_WAIT)


def http_status(error: BaseException) -> int | None:
    """The HTTP status that a model's call ended with, where its provider tells."""
    status = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def describe_error(error: BaseException, limit: int = 300) -> str:
    """Write an exception as one capped line: its class, and what it says."""
    text, name = " ".join(error_text(error).split()), type(error).__name__
    line = text if isinstance(error, ModelError) and text else f"{name}: {text}" if text else name
    return line if len(line) <= limit else line[: limit - 1] + "…"


def error_text(error: BaseException) -> str:
    """What an exception says; nothing, if it cannot even say that."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - any class may write its own __str__, and write it badly
        return ""


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, TimeoutError | ConnectionError | httpx.TransportError | JSONDecodeError):
        return True
    return bool({kind.__name__ for kind in type(error).__mro__} & _TRANSIENT_NAMES)
