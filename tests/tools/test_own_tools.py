"""Tools that a text names, and one sentence for what names none."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plan_execute.tools import load_tools

SHOP = '''
"""A shop."""
from langchain_core.tools import tool

def refund(order: int) -> str:
    """Refund an order."""
    return f"refunded {order}"

@tool
async def cancel(order: int) -> str:
    """Cancel an order."""
    return f"cancelled {order}"

def unsaid(order: int) -> str:
    return ""

class Order: ...

cancel.metadata = {"effect": "effect"}
both = (refund, cancel)
mixed = [refund, 7]
nothing = []
'''


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with modules, of which none stays imported."""
    before = (list(sys.path), set(sys.modules))
    (tmp_path / "shop_x.py").write_text(SHOP)
    (tmp_path / "uses_shop_x.py").write_text("from shop_x import refund\n")
    (tmp_path / "raises_x.py").write_text("\n1 / 0\n")
    (tmp_path / "exits_x.py").write_text("import sys\nsys.exit('bye\u202e')\n")
    (tmp_path / "misspelled_x.py").write_text("def f(:\n")
    (tmp_path / "needs_x.py").write_text("import no_such_module\n")
    (tmp_path / "package_x").mkdir()
    (tmp_path / "package_x" / "__init__.py").write_text("")
    (tmp_path / "package_x" / "inner.py").write_text(SHOP)
    yield tmp_path
    sys.path[:] = before[0]
    for name in set(sys.modules) - before[1]:
        del sys.modules[name]


@pytest.mark.parametrize("place", ["shop_x", "shop_x.py", "{}/shop_x.py", "package_x.inner", "package_x/inner.py"])
@pytest.mark.parametrize(("name", "tools"), [("refund", "refund"), ("cancel", "cancel"), ("both", "refund cancel")])
def test_tools_are_found_in_modules_and_files(place: str, name: str, tools: str, folder: Path) -> None:
    assert [tool.name for tool in load_tools(f"{place.format(folder)}:{name}", folder)] == tools.split()


def test_folder_is_the_current_one_unless_it_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (refund,) = load_tools("uses_shop_x.py:refund")
    assert refund.invoke({"order": 7}) == "refunded 7"
    assert load_tools("shop_x:refund")[0].description == "Refund an order."


NO_TOOL = (
    "What '{}' names is no tool but {}: it has to be a LangChain tool, a function with type hints and a docstring, or "
    "a list of these."
)
WRONG = {
    "shop_x": "'shop_x' names no tools: write module:name or path/to/file.py:name.",
    ":refund": "':refund' names no tools: write module:name or path/to/file.py:name.",
    "shp_x:refund": "There is no module 'shp_x' in '{}', and none is installed. Did you mean 'shop_x'?",
    "package_x.iner:refund": (
        "There is no module 'package_x.iner' in '{}', and none is installed. Did you mean 'package_x.inner'?"
    ),
    "no.such:refund": "There is no module 'no' in '{}', and none is installed.",
    "none.py:refund": "There is no file '{}/none.py': give the path of the Python file that your tools are in.",
    "shop_x:refnd": "There is no 'refnd' in 'shop_x'. Did you mean 'refund'?",
    "raises_x:a": "'raises_x' cannot be imported: ZeroDivisionError: division by zero ({}/raises_x.py, line 2).",
    "raises_x.py:a": "'raises_x.py' cannot be imported: ZeroDivisionError: division by zero ({}/raises_x.py, line 2).",
    "exits_x:a": "'exits_x' cannot be imported: SystemExit: bye ({}/exits_x.py, line 2).",
    "misspelled_x:a": "'misspelled_x' cannot be imported: SyntaxError: invalid syntax ({}/misspelled_x.py, line 1).",
    "needs_x:a": (
        "'needs_x' cannot be imported: ModuleNotFoundError: No module named 'no_such_module' ({}/needs_x.py, line 1)."
    ),
    "shop_x:Order": NO_TOOL.format("shop_x:Order", "type"),
    "shop_x:mixed": NO_TOOL.format("shop_x:mixed", "int"),
    "shop_x:nothing": "'shop_x:nothing' names an empty list: give it a tool.",
    "shop_x:unsaid": "The function 'unsaid' of 'shop_x:unsaid' has no docstring: say there what it does.",
}


@pytest.mark.parametrize("named", WRONG)
def test_what_names_no_tool_is_said_in_one_sentence(named: str, folder: Path) -> None:
    with pytest.raises(ValueError, match="'") as raised:
        load_tools(named, folder)
    assert str(raised.value) == WRONG[named].format(folder)
