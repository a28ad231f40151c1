"""A small model in the executor's place: the same messages and tools, asked for in the compact form."""

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import Field

from plan_execute.agent.executor.scratchpad import REPORT
from plan_execute.agent.llm.structured_output import aask, ask
from plan_execute.agent.small_models import compact
from plan_execute.agent.state import Brief


class CompactExecutor(BaseChatModel):
    """Wraps a small model for one milestone, so that the ReAct loop need not know how it is asked."""

    model: BaseChatModel
    brief: Brief
    tools: list[Any] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "compact-executor"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        """Offer tools for the next turn."""
        return self.model_copy(update={"tools": [t for t in tools if isinstance(t, BaseTool) and t.name != REPORT]})

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        message = ask(compact.next_turn(self.model, self.brief, self.tools, messages), {"tags": ["nostream"]})
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        message = await aask(compact.next_turn(self.model, self.brief, self.tools, messages), {"tags": ["nostream"]})
        return ChatResult(generations=[ChatGeneration(message=message)])
