"""The errors a caller may meet, split by who must act, and the wording that error messages share.

PlanExecuteError
├── ConfigurationError      the caller's settings cannot work: change the setting
│   └── ModelError          a model's name, package or key: the message says which
└── RequestError            nothing can be done with the request itself: send another one

A milestone that fails is data in the state, never one of these; a run that ends badly ends in a status with a code.
"""

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class PlanExecuteError(Exception):
    """Base of what this package raises on purpose; its text is one sentence for the person who has to act."""


class ConfigurationError(PlanExecuteError, ValueError):
    """A setting that cannot work. The message names it, says what was expected and what to do."""


class ModelError(ConfigurationError):
    """A model that cannot be used: unknown name, package not installed, no key."""


class RequestError(PlanExecuteError, ValueError):
    """A request nothing can be done with, for example an empty one."""


def validation_problems(error: "ValidationError", whole: str) -> list[str]:
    """List the problems of a pydantic error, each as `place: reason`, without a full stop.

    Args:
        error: What pydantic raised.
        whole: What stands for the place where the input as a whole is wrong.
    """
    return [
        f"{'.'.join(map(str, problem['loc'])) or whole}: {problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors()
    ]


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that a misspelled one most likely stands for; None if no name is close."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)
