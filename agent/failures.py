"""Classes of failure: what went wrong, in a word that decides what happens next."""

from typing import Literal

import httpx
from plan_execute.agent.errors import ModelError

FailureCode = Literal[
    "transient",
    "model_unavailable",
    "missing",
    "surprise",
    "no_evidence",
    "no_report",
    "limit",
    "refusal",
    "failed",
    "unknown",
]

MEANINGS: dict[FailureCode, str] = {
    "transient": "the service did not answer this time",
    "model_unavailable": "the model cannot be used",
    "missing": "information or access is missing",
    "surprise": "what was found contradicts the plan",
    "no_evidence": "success was claimed without a successful call of a granted tool",
    "no_report": "the executor ended without a report",
    "limit": "the limit of calls was reached",
    "refusal": "the model refused",
    "failed": "it was tried in vain",
    "unknown": "it failed for a reason nobody classified",
}
"""What each class means, for prompts and messages."""

_TRANSIENT_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_TRANSIENT_NAMES = frozenset({"APIConnectionError", "APITimeoutError", "RateLimitError", "InternalServerError"})


def classify_error(error: BaseException) -> FailureCode:
    """Find the class of what a model's call raised; providers share no tree, so status codes and names decide."""
    if isinstance(error, ModelError):
        return "model_unavailable"
    status = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        if status in _TRANSIENT_STATUS:
            return "transient"
        return "model_unavailable" if status in {401, 402, 403, 404} else "unknown"
    if isinstance(error, TimeoutError | ConnectionError | httpx.TransportError):
        return "transient"
    names = {kind.__name__ for kind in type(error).__mro__}
    return "transient" if names & _TRANSIENT_NAMES else "unknown"


def describe_error(error: BaseException, limit: int = 300) -> str:
    """Write an exception as one capped line: its class, and what it says."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    line = text if isinstance(error, ModelError) and text else f"{name}: {text}" if text else name
    return line if len(line) <= limit else line[: limit - 1] + "…"
