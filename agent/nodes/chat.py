"""What chat clients show while a run works: the plan as a message that is ticked off, and the answer as it is written.

Agent Chat UI, Studio's chat and `useStream` show the `messages` of a thread and nothing else. So while a run works its
last message is a checklist of the plan, the progress message. The `messages` stream, which is for the answer, does not
have it; the answer takes its place when the run ends; and no model is shown it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, RemoveMessage
from langchain_core.outputs import ChatGenerationChunk, GenerationChunk
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs, set_config_context
from langchain_core.utils.json import parse_partial_json
from langgraph.config import get_config
from langgraph.graph.message import push_message
from langgraph.pregel._messages import StreamMessagesHandler, StreamMessagesHandlerV2

from plan_execute.agent.events import emit, now
from plan_execute.agent.llm.structured_output import DialogueNode
from plan_execute.agent.state import Milestone, Plan, RunUpdate, new_id, revision_of

STEP = 16
"""Fewest new characters of JSON before it is parsed again; a twentieth of all where that is more, to stay linear."""
PLANNING = "Making a plan ..."
LINE = 120
"""Most characters of a goal, and of the strategy, in a progress message."""
MOST_LINES = 6
"""Most milestones that a progress message shows, those about the current one; the others are counted."""
LONGEST_CONVERSATION = 100_000
"""Most characters of a conversation to which a progress message is added."""
_PREFIX = "progress-"
"""What the id of a progress message begins with."""
_SEND = "__pregel_send"
"""Key of `configurable` under which LangGraph passes a node what writes to the channels of its graph."""
_MARKS: Mapping[str, str] = {"completed": "x"}
_NOTES: Mapping[str, str] = {"running": " *(working on it)*", "failed": " *(failed)*", "blocked": " *(blocked)*"}


def start_progress(messages: Iterable[AnyMessage]) -> None:
    """Put a progress message into the conversation, in place of one that an unfinished run left behind.

    Into a long one none is put, because a checkpointer may store all of it again with each change.
    """
    messages = list(messages)
    is_long = sum(len(str(message.content)) for message in messages) > LONGEST_CONVERSATION
    _write([*remove_progress(messages), *([] if is_long else [AIMessage(PLANNING, id=f"{_PREFIX}{new_id()}")])])


def show_progress(
    messages: Iterable[AnyMessage], plan: Plan | None, milestones: Mapping[str, Milestone], note: str = ""
) -> None:
    """Bring the progress message up to date, if the conversation has one.

    Args:
        messages: The conversation.
        plan: The plan in force.
        milestones: Those of the run, finished ones of earlier plans too.
        note: What comes next, or what the run waits for.
    """
    known = next((message.id for message in messages if is_progress(message)), None)
    if known is not None and plan is not None:
        _write([AIMessage(_checklist(plan, milestones, note), id=known)])


def move_progress(messages: Sequence[AnyMessage]) -> list[Any]:
    """Return what makes the progress message the last one again: Agent Chat UI asks below the last message only."""
    moved = [AIMessage(message.text, id=f"{_PREFIX}{new_id()}") for message in messages if is_progress(message)]
    return [*remove_progress(messages), *moved]


def remove_progress(messages: Iterable[AnyMessage]) -> list[Any]:
    """Return what takes progress messages out of the conversation."""
    return [RemoveMessage(id=str(message.id)) for message in messages if is_progress(message)]


def without_progress(messages: Iterable[AnyMessage]) -> list[AnyMessage]:
    """Return the conversation as models are shown it."""
    return [message for message in messages if not is_progress(message)]


def is_progress(message: AnyMessage) -> bool:
    """Tell whether a message is one of these."""
    return message.type == "ai" and str(message.id).startswith(_PREFIX)


def _checklist(plan: Plan, milestones: Mapping[str, Milestone], note: str) -> str:
    title = "**Plan**" if plan["revision"] == 1 else f"**Plan, revision {plan['revision']}**"
    shown = [m for m in milestones.values() if m["status"] != "skipped" and _is_current(m, plan)]
    lines = [f"- [{_MARKS.get(m['status'], ' ')}] {_one_line(m['goal'])}{_NOTES.get(m['status'], '')}" for m in shown]
    if len(lines) > MOST_LINES:
        current = next((place for place, m in enumerate(shown) if m["status"] != "completed"), len(shown))
        first = max(min(current - 2, len(lines) - MOST_LINES), 0)
        left = len(lines) - first - MOST_LINES
        before, after = f"- [x] {first} more", f"- [ ] {left} more"
        lines = [*([before] if first else []), *lines[first : first + MOST_LINES], *([after] if left else [])]
    return "\n\n".join(filter(None, [f"{title}: {_one_line(plan['strategy'])}", "\n".join(lines), _harmless(note)]))


def _is_current(milestone: Milestone, plan: Plan) -> bool:
    """Whether a milestone is of this plan, or finished; what failed before is what the plan was made anew for."""
    return milestone["status"] == "completed" or milestone["revision"] == plan["revision"]


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return _harmless(line if len(line) <= LINE else f"{line[: LINE - 4]} ...")


def _harmless(text: str) -> str:
    """Keep a client that shows Markdown from making links, images or HTML of what a model wrote."""
    return re.sub(r"([\[<])", r"\\\1", text)


def _write(messages: list[Any]) -> None:
    """Write to the conversation past the node's output, of which LangGraph would stream the messages."""
    config = get_config()
    config["configurable"][_SEND]([("messages", messages)])


class AnswerNode(DialogueNode):
    """A node that asks for the answer, and streams it."""

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - its name
        """Ask in sync code."""
        stream = AnswerStream(revision_of(input), config or {})
        return stream.name_answer(super().invoke(input, merge_configs(config, {"callbacks": [stream]})))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Ask in async code."""
        stream = AnswerStream(revision_of(input), config or {})
        return stream.name_answer(await super().ainvoke(input, merge_configs(config, {"callbacks": [stream]})))


class AnswerStream(BaseCallbackHandler):
    """Streams the answer of a synthesis, if the model streams; it makes no model stream.

    A model streams if `messages` is among the stream modes of the run, or if it is configured to. On the custom stream
    are the events `{"type": "answer_delta", "at", "revision", "attempt", "text"}`; the texts of an attempt in order are
    the answer as far as it is written. On the `messages` stream the same texts are chunks of one AI message for each
    attempt, which becomes the run's. The final answer is that of the `answer` event.
    """

    run_inline = True

    def __init__(self, revision: int, config: RunnableConfig) -> None:
        """Take the revision of the plan, for the events, and the config of the node."""
        self._revision = revision
        self._config = config
        self._has_messages = _streams_messages(config)
        self._id = ""
        self._attempt = 0
        self._written = ""
        self._parsed = 0
        self._sent = ""

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        """Start again, for each attempt."""
        self._attempt += 1
        self._id = new_id()
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
            if self._has_messages:
                with set_config_context(self._config) as context:
                    context.run(push_message, AIMessageChunk(content=text, id=self._id), state_key=None)

    def name_answer(self, update: RunUpdate) -> RunUpdate:
        """Give the run's AI message the id under which it was streamed, so that no client shows it twice."""
        if self._sent:
            for message in update.get("messages", ()):
                if message.type == "ai":
                    message.id = self._id
        return update


def _streams_messages(config: RunnableConfig) -> bool:
    """Tell whether the caller gets chunks of messages; newer streams have events in their place."""
    callbacks = config.get("callbacks")
    handlers = callbacks.handlers if isinstance(callbacks, BaseCallbackManager) else callbacks or ()
    kinds = [type(handler) for handler in handlers if isinstance(handler, StreamMessagesHandler)]
    return bool(kinds) and StreamMessagesHandlerV2 not in kinds
