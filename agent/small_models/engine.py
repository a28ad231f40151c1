"""A llama.cpp server inside this process, which loads a GGUF file once and takes one call at a time.

The server also listens on a port of this machine, which cannot be turned off: it takes a random key and no browser.
"""

import atexit
import ctypes
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.exceptions import ContextOverflowError

from plan_execute.agent.errors import ModelError
from plan_execute.agent.llm.gguf_files import needs_runtime

CACHE_MIB = 256
CANDIDATES = 1000
"""How many of the likeliest next tokens are looked at when options are compared."""


@dataclass
class Completion:
    """The outcome of one call: its text, why it ended, and its tokens."""

    text: str = ""
    finish_reason: str = "stop"
    input_tokens: int = 0
    output_tokens: int = 0
    reasoning: str = ""
    tool_calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    """In the form of OpenAI's protocol, by their index."""

    def take(self, delta: dict[str, Any]) -> str:
        """Add what a chunk of the stream brings, and return its text."""
        text = delta.get("content") or ""
        self.text += text
        self.reasoning += delta.get("reasoning_content") or ""
        for part in delta.get("tool_calls") or ():
            blank = {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
            call = self.tool_calls.setdefault(part.get("index", 0), blank)
            call["id"] = part.get("id") or call["id"]
            for key in ("name", "arguments"):
                call["function"][key] += part.get("function", {}).get(key) or ""
        return text


class Engine:
    """One loaded model; calls from several threads wait for each other."""

    def __init__(self, path: str, context_tokens: int, threads: int) -> None:
        """Load the weights, which takes about half a second for 100 MB.

        Args:
            path: The GGUF file.
            context_tokens: The most tokens of a question and its answer.
            threads: On how many cores it reads and writes; 0 to read on all usable ones, and leave one while it writes.

        Raises:
            ModelError: The runtime is not installed, or the file holds no model it can read.
        """
        self._lock = threading.Lock()
        self._closing = False
        self.server: Any = _start_server(path, context_tokens, threads)

    def complete(self, request: dict[str, Any], on_text: Callable[[str], bool] | None = None) -> Completion:
        """Answer a request in the form of OpenAI's chat completions.

        Args:
            request: The body, without `stream`.
            on_text: Called with the text of each piece that comes, which is empty for a piece of anything else;
                returning True ends the call early.

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
            choices = chunk.get("choices", ())
            text = "".join([completion.take(choice.get("delta", {})) for choice in choices])
            for choice in choices:
                completion.finish_reason = choice.get("finish_reason") or completion.finish_reason
            return self._closing or bool(on_text is not None and on_text(text))

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


def engine_for(path: str, context_tokens: int, threads: int) -> Engine:
    """Return the engine for these weights, loading them on the first call, whose settings stay."""
    with _registry_lock:
        if path not in _engines:
            _engines[path] = Engine(path, context_tokens, threads)
        return _engines[path]


_engines: dict[str, Engine] = {}
_registry_lock = threading.Lock()


def usable_cores() -> int:
    """Count the processor cores that this process may use, also in a container with a quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(allowed, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or no quota: "max"
        return allowed


def _start_server(path: str, context_tokens: int, threads: int) -> Any:
    try:
        import xllamacpp  # type: ignore[import-untyped]  # optional, and it has no types
    except ImportError as error:
        raise ModelError(needs_runtime(path)) from error
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx = context_tokens
    params.n_parallel = 1
    params.cpuparams_batch.n_threads = threads or usable_cores()
    # For each token all threads wait for the slowest: with none left for others it was five times slower than with one.
    params.cpuparams.n_threads = threads or max(1, usable_cores() - 1)
    params.api_keys = [secrets.token_urlsafe(32)]
    params.cors_origins = ""
    params.ui = params.endpoint_slots = False
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
