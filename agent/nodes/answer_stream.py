"""The answer stream: events with the text of the answer while the synthesizer writes it."""

from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, GenerationChunk
from langchain_core.utils.json import parse_partial_json

from plan_execute.agent.events import emit, now
from plan_execute.agent.state import RunState, revision_of

STEP = 16
"""Fewest new characters of JSON before it is parsed again; a twentieth of all where that is more, to stay linear."""


def stream_answer(state: RunState) -> "AnswerStream":
    """Make the callback handler that streams the answer of a run."""
    return AnswerStream(revision_of(state))


class AnswerStream(BaseCallbackHandler):
    """Streams the answer of a synthesis as events, if the model streams; it makes no model stream.

    A model streams if `messages` is among the stream modes of the run, or if it is configured to. The events are
    `{"type": "answer_delta", "at", "revision", "attempt", "text"}`; the texts of an attempt in order are the answer as
    far as it is written. The final answer is that of the `answer` event.
    """

    run_inline = True

    def __init__(self, revision: int) -> None:
        """Take the revision of the plan, for the events."""
        self._revision = revision
        self._attempt = 0
        self._written = ""
        self._parsed = 0
        self._sent = ""

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        """Start again, for each attempt."""
        self._attempt += 1
        self._written, self._parsed, self._sent = "", 0, ""

    def on_llm_new_token(
        self, token: object, *, chunk: GenerationChunk | ChatGenerationChunk | None = None, **_: Any
    ) -> None:
        """Take a token: text, or a piece of a tool call's arguments."""
        if not isinstance(chunk, ChatGenerationChunk) or not isinstance(chunk.message, AIMessageChunk):
            return
        pieces = chunk.message.tool_call_chunks
        self._written += "".join(piece["args"] or "" for piece in pieces) or chunk.message.text
        if len(self._written) - self._parsed >= max(STEP, len(self._written) // 20):
            self._send()

    def on_llm_end(self, *_: Any, **__: Any) -> None:
        """Send the rest."""
        self._send()

    def _send(self) -> None:
        self._parsed = len(self._written)
        try:
            synthesis = parse_partial_json(self._written)
        except ValueError:
            return
        answer = synthesis.get("answer") if isinstance(synthesis, dict) else None
        if isinstance(answer, str) and len(answer) > len(self._sent) and answer.startswith(self._sent):
            text, self._sent = answer[len(self._sent) :], answer
            place = {"revision": self._revision, "attempt": self._attempt}
            emit({"type": "answer_delta", "at": now(), **place, "text": text})
