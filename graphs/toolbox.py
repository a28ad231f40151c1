"""The tools of the command line and the server, by their former name."""

from plan_execute.tools import make_default_tools as make_tools

__all__ = ["make_tools"]
