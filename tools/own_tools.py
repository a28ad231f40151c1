"""Tools that a text names: `module:name`, or `path/to/file.py:name`."""

import importlib
import inspect
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from langchain_core.tools import BaseTool, tool

from plan_execute.tools.characters import drop_invisible
from plan_execute.tools.messages import did_you_mean, truncate

ERROR_LIMIT = 300
"""Most characters of what an import raises that a message shows."""


def load_tools(named: str, folder: str | os.PathLike[str] = "") -> list[BaseTool]:
    """Import tools.

    Args:
        named: `module:name` or `path/to/file.py:name`. The name is that of a LangChain tool, of a function with type
            hints and a docstring, or of a list or tuple of these.
        folder: The folder that modules are found in first, and that paths are relative to; empty for the current one.

    Raises:
        ValueError: There is no such thing, its module cannot be imported, or it is no tool; one sentence says which.
    """
    place, _, name = named.rpartition(":")
    if not place or not name:
        raise ValueError(f"{named!r} names no tools: write module:name or path/to/file.py:name.")
    module = _load(place, os.path.abspath(folder))
    if not hasattr(module, name):
        known = [known for known in vars(module) if not known.startswith("_")]
        raise ValueError(f"There is no {name!r} in {place!r}.{did_you_mean(name, known)}")
    found = getattr(module, name)
    if isinstance(found, list | tuple) and not found:
        raise ValueError(f"{named!r} names an empty list: give it a tool.")
    return [_as_tool(each, named) for each in (found if isinstance(found, list | tuple) else [found])]


def _load(place: str, folder: str) -> ModuleType:
    """Import a module, or run a file; its folder is on the path, as Python does it with a script."""
    path = Path(folder, place) if place.endswith(".py") else None
    if path and not path.is_file():
        raise ValueError(f"There is no file {str(path)!r}: give the path of the Python file that your tools are in.")
    if (first := str(path.parent) if path else folder) not in sys.path:
        sys.path.insert(0, first)
    try:
        return _run(path) if path else importlib.import_module(place)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a module may raise anything
        missing = error.name if isinstance(error, ModuleNotFoundError) and error.name else None
        if missing and f"{place}.".startswith(f"{missing}."):
            raise ValueError(_describe_missing(missing, folder)) from None
        raise ValueError(f"{place!r} cannot be imported: {_describe(error)}") from None


def _run(path: Path) -> ModuleType:
    name = f"plan_execute_tools_of_{path.stem}"
    spec = spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _describe_missing(module: str, folder: str) -> str:
    """Say that there is no such module, and which there is beside it."""
    package = module.rpartition(".")[0]
    places: Iterable[str] = getattr(sys.modules.get(package), "__path__", ()) if package else [folder]
    known = [f"{package}.{found.name}".lstrip(".") for found in pkgutil.iter_modules(places)]
    return f"There is no module {module!r} in {folder!r}, and none is installed.{did_you_mean(module, known)}"


def _describe(error: BaseException) -> str:
    """Say in one line what a module raised, and where."""
    if isinstance(error, SyntaxError):
        place, text = f"{error.filename}, line {error.lineno}", error.msg
    else:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place, text = f"{frame.filename}, line {frame.lineno}", str(error)
    text = truncate(" ".join(drop_invisible(text).split()), ERROR_LIMIT)
    return f"{type(error).__name__}: {text} ({place})."


def _as_tool(given: object, named: str) -> BaseTool:
    if isinstance(given, BaseTool):
        return given
    if not inspect.isroutine(given):
        raise ValueError(
            f"What {named!r} names is no tool but {type(given).__name__}: it has to be a LangChain tool, a function "
            "with type hints and a docstring, or a list of these."
        )
    if not inspect.getdoc(given):
        raise ValueError(f"The function {given.__name__!r} of {named!r} has no docstring: say there what it does.")
    try:
        return tool(given)
    except Exception as error:  # noqa: BLE001 - LangChain raises many kinds for a signature it cannot read
        text = truncate(" ".join(str(error).split()), ERROR_LIMIT)
        raise ValueError(f"The function {given.__name__!r} of {named!r} cannot be a tool: {text}") from None
