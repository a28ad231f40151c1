"""What a run is made of: state, settings, models, and the behaviour of each node."""

from plan_execute.agent.context import Context
from plan_execute.agent.errors import ConfigurationError, ModelError, PlanExecuteError, RequestError
from plan_execute.agent.llm.models import load_model
from plan_execute.agent.schemas import MilestoneReport, PlanDraft, Synthesis

__all__ = [
    "ConfigurationError",
    "Context",
    "MilestoneReport",
    "ModelError",
    "PlanDraft",
    "PlanExecuteError",
    "RequestError",
    "Synthesis",
    "load_model",
]
