"""The errors a caller may meet, split by who must act.

PlanExecuteError
├── ConfigurationError      the caller's settings cannot work: mend the setting
│   └── ModelError          a model's name, package or key: the message says which
└── RequestError            the request itself cannot be pursued: ask again

A milestone that fails is data in the state, never one of these; a run that ends badly ends in a status with a code.
"""


class PlanExecuteError(Exception):
    """Base of what this package raises on purpose; its text is one sentence fit for the person who has to act."""


class ConfigurationError(PlanExecuteError, ValueError):
    """A setting that cannot work. The message names it, says what was expected and what to do."""


class ModelError(ConfigurationError):
    """A model that cannot be had: unknown name, package not installed, no key."""


class RequestError(PlanExecuteError, ValueError):
    """A request nothing can be done with, for example an empty one."""
