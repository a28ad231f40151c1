"""One multiple-choice question to a small model."""

from collections.abc import Sequence

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage

from plan_execute.agent.llm.structured_output import Dialogue, Question
from plan_execute.agent.small_models.chat_model import LocalChatModel
from plan_execute.agent.small_models.prompts import FewShotPrompt

NEUTRAL = ("?", "N/A", "Do it.", "What about this one?")
"""Questions without content: an option that is likely after them is likely whatever the question is."""


def choose(model: BaseChatModel, prompt: FewShotPrompt, question: str, options: Sequence[str]) -> Dialogue[str]:
    """Let the model choose one of the options; a single option is taken without asking.

    Args:
        model: The model to ask.
        prompt: Instruction and examples.
        question: What to decide.
        options: The answers to choose from; the first one is taken if the model answers with none of them.

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
        calibration = {"neutral": [[HumanMessage(prompt.text(neutral))] for neutral in NEUTRAL]}
    reply = yield Question(model, [HumanMessage(prompt.text(question))], schema, calibration)
    if reply.error is not None:
        raise reply.error
    choice = (reply.data or {}).get("choice")
    return str(choice) if choice in options else options[0]
