"""The two graphs that `langgraph dev` serves, with the default tools; the server stores the threads.

Two environment variables replace the data of the sample shop: `PLAN_EXECUTE_DB` with a SQLAlchemy URL or a SQLite file,
`PLAN_EXECUTE_DOCS` with a folder.
"""

import os

from plan_execute.graphs.executor import create_executor
from plan_execute.graphs.plan_execute import create_plan_execute_agent
from plan_execute.tools import make_default_tools

_tools = make_default_tools(os.environ.get("PLAN_EXECUTE_DB"), os.environ.get("PLAN_EXECUTE_DOCS"))
plan_execute = create_plan_execute_agent(tools=_tools, context={"client": "chat"})
executor = create_executor(tools=_tools)
