"""The answer as it is written: read from the tokens of a model that streams, told as `answer_delta` events."""

from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, GenerationChunk
from langchain_core.utils.json import parse_partial_json

from plan_execute.agent.audit import announce
from plan_execute.agent.state import RunState, now

STEP = 16
"""Fewest characters of JSON between two looks at it; a twentieth of it where that is more, so cost stays linear."""


def listen_for_answer(state: RunState) -> "AnswerStream":
    """Listen to the synthesis of a run."""
    plan = state["plan"]
    return AnswerStream(plan["revision"] if plan else 0)


class AnswerStream(BaseCallbackHandler):
    """Listens to one synthesis; it makes no model stream that does not stream anyway.

    A model streams when `messages` is among the stream modes of the run, or when it is built to. The events are
    `{"type": "answer_delta", "at", "revision", "attempt", "text"}`; the texts of an attempt in order are the answer as
    far as it was written. The answer that counts is that of the `answer` event.
    """

    run_inline = True

    def __init__(self, revision: int) -> None:
        """Listen on behalf of a plan's revision."""
        self._revision = revision
        self._attempt = 0
        self._written = ""
        self._looked_at = 0
        self._told = ""

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        """Begin anew: it is asked for the first time, or again."""
        self._attempt += 1
        self._written, self._looked_at, self._told = "", 0, ""

    def on_llm_new_token(
        self, token: object, *, chunk: GenerationChunk | ChatGenerationChunk | None = None, **_: Any
    ) -> None:
        """Take a token: text, or a piece of a tool call's arguments."""
        if not isinstance(chunk, ChatGenerationChunk) or not isinstance(chunk.message, AIMessageChunk):
            return
        pieces = chunk.message.tool_call_chunks
        self._written += "".join(piece["args"] or "" for piece in pieces) or chunk.message.text
        if len(self._written) - self._looked_at >= max(STEP, len(self._written) // 20):
            self._look()

    def on_llm_end(self, *_: Any, **__: Any) -> None:
        """Tell what is left to tell."""
        self._look()

    def _look(self) -> None:
        self._looked_at = len(self._written)
        try:
            read = parse_partial_json(self._written)
        except ValueError:
            return
        answer = read.get("answer") if isinstance(read, dict) else None
        if isinstance(answer, str) and len(answer) > len(self._told) and answer.startswith(self._told):
            text, self._told = answer[len(self._told) :], answer
            place = {"revision": self._revision, "attempt": self._attempt}
            announce({"type": "answer_delta", "at": now(), **place, "text": text})
