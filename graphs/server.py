"""The two graphs that `langgraph dev` serves, with the default tools; the server stores the threads.

Environment variables replace the data of the sample shop: `PLAN_EXECUTE_DB` with a SQLAlchemy URL or a SQLite file,
`PLAN_EXECUTE_DOCS` with a folder of documents, `PLAN_EXECUTE_FILES` with a folder whose files are only read,
`PLAN_EXECUTE_MCP` with a file of MCP servers, `PLAN_EXECUTE_TOOLS` with tools of yours as `module:name`, separated by
commas.
"""

import os

from plan_execute.graphs.executor import create_executor
from plan_execute.graphs.plan_execute import create_plan_execute_agent
from plan_execute.tools import load_tools, make_default_tools, mcp_tools

_named = {name: os.environ.get(f"PLAN_EXECUTE_{name}") for name in ("DB", "DOCS", "FILES", "MCP", "TOOLS")}
_own = [tool for named in (_named["TOOLS"] or "").split(",") if named for tool in load_tools(named)]
_own += mcp_tools(_named["MCP"]) if _named["MCP"] else []
_tools = make_default_tools(_named["DB"], _named["DOCS"], files=_named["FILES"], own=_own)
plan_execute = create_plan_execute_agent(tools=_tools, context={"client": "chat"})
executor = create_executor(tools=_tools)
