"""Tools that list, read, search and, where that is allowed, write the files of one folder."""

from plan_execute.tools.files.file_tools import file_tools as file_tools

__all__ = ["file_tools"]
