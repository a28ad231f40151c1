"""The compiled graphs and how to make them."""

from plan_execute.graphs.executor import create_executor
from plan_execute.graphs.plan_execute import create_plan_execute_agent

__all__ = ["create_executor", "create_plan_execute_agent"]
