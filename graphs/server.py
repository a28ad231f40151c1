"""The two graphs as `langgraph dev` serves them, with the tools that are there: the server keeps the threads.

The environment may name other data than the sample's: in `PLAN_EXECUTE_DB` a SQLAlchemy URL or a SQLite file, in
`PLAN_EXECUTE_DOCS` a folder.
"""

import os

from plan_execute.graphs.executor import create_executor
from plan_execute.graphs.plan_execute import create_plan_execute_agent
from plan_execute.tools import make_default_tools

_tools = make_default_tools(os.environ.get("PLAN_EXECUTE_DB"), os.environ.get("PLAN_EXECUTE_DOCS"))
plan_execute = create_plan_execute_agent(tools=_tools)
executor = create_executor(tools=_tools)
