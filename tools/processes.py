"""Processes that do what may get stuck: started when needed, kept for the next request, ended when they are stuck."""

import json
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

_START = """
import importlib, json, sys
sys.path[:] = json.loads(sys.argv[1])
importlib.import_module(sys.argv[2]).main()
"""


class Workers:
    """Processes that answer requests, each one at a time; safe to use from several threads."""

    def __init__(self, module: str, source: dict[str, Any], *, environment: Mapping[str, str] | None = None) -> None:
        """Say what the processes run.

        Args:
            module: The name of a module whose `main` reads requests as lines of JSON, and answers each with another.
            source: What each process reads first.
            environment: Its environment variables; None for those of this process.
        """
        self._module = module
        self._source = source
        self._environment = environment
        self._idle: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        weakref.finalize(self, _end_all, self._idle)

    def ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Send a request.

        Args:
            request: What the module takes; it ends by itself in about the time that the request allows.

        Returns:
            The answer; None if the process ended without one: it was stuck, or had no more memory.
        """
        worker = self._take()
        answer = _ask(worker, request)
        if answer is not None:
            with self._lock:
                self._idle.append(worker)
        return answer

    def _take(self) -> subprocess.Popen[bytes]:
        with self._lock:
            while self._idle:
                if (worker := self._idle.pop()).poll() is None:  # after a fork, those of the other process have ended
                    return worker
                _end(worker)
        return self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-c", _START, json.dumps(sys.path), self._module]
        worker = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment,
        )
        assert worker.stdin
        worker.stdin.write(json.dumps(self._source).encode() + b"\n")
        return worker


def _ask(worker: subprocess.Popen[bytes], request: dict[str, Any]) -> dict[str, Any] | None:
    assert worker.stdin
    assert worker.stdout
    try:
        worker.stdin.write(json.dumps(request).encode() + b"\n")
        worker.stdin.flush()
        line = worker.stdout.readline()
    except BrokenPipeError:
        line = b""
    except BaseException:  # the thread is interrupted: an answer that comes later must not be taken for another's
        worker.kill()
        _end(worker)
        raise
    if not line:
        _end(worker)
        return None
    answer: dict[str, Any] = json.loads(line)
    return answer


def _end_all(workers: list[subprocess.Popen[bytes]]) -> None:
    while workers:
        _end(workers.pop())


def _end(worker: subprocess.Popen[bytes]) -> None:
    """Close a worker's input, at which it ends, and its output."""
    for pipe in (worker.stdin, worker.stdout):
        if pipe:
            with suppress(BrokenPipeError):
                pipe.close()
    worker.wait()
