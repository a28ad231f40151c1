"""One choice put to a small model: a few fixed examples, the question, and the options as an enum."""

from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage

from plan_execute.agent.llm.structured_output import Dialogue, Question
from plan_execute.agent.small_models.chat_model import LocalChatModel

NEUTRAL = ("?", "N/A", "Do it.", "What about this one?")
"""Questions without content: what a model prefers after them, it prefers for no reason."""


@dataclass(frozen=True)
class Form:
    """A kind of choice: what is asked, how question and answer are introduced, and examples of both."""

    task: str
    question: str = "Question"
    answer: str = "Answer with"
    examples: tuple[tuple[str, str], ...] = ()

    def prompt(self, question: str) -> str:
        """The text that an option continues."""
        shown = [f"{self.question}: {asked}\n{self.answer}: {said}" for asked, said in self.examples]
        return "\n\n".join([self.task, *shown, f"{self.question}: {question}\n{self.answer}:"])


def choose(model: BaseChatModel, form: Form, question: str, options: Sequence[str]) -> Dialogue[str]:
    """Let the model choose one of the options; where there is only one, nothing is asked.

    Raises:
        Exception: Whatever the model's call raised.
    """
    if len(options) == 1:
        return options[0]
    schema = {
        "title": "Choice",
        "type": "object",
        "properties": {"choice": {"type": "string", "enum": list(options)}},
        "required": ["choice"],
        "additionalProperties": False,
    }
    calibration = {}
    if isinstance(model, LocalChatModel):
        calibration = {"neutral": [[HumanMessage(form.prompt(neutral))] for neutral in NEUTRAL]}
    reply = yield Question(model, [HumanMessage(form.prompt(question))], schema, calibration)
    if reply.error is not None:
        raise reply.error
    choice = (reply.data or {}).get("choice")
    return str(choice) if choice in options else options[0]
