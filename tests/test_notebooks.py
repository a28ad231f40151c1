"""Every notebook runs from top to bottom, without a key, and keeps the output of such a run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))

EXECUTE = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.execute(notebook, cwd=".", kernel_name="python3", timeout=300)
print(notebook.cells[-1].outputs[0].text)
"""
"""In a process of its own: what carries the messages to a kernel leaves sockets to the garbage collector."""


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: str(path.stem))
def test_notebook_keeps_the_output_of_a_run_from_top_to_bottom(path: Path) -> None:
    cells: list[dict[str, Any]] = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert [cell["id"] for cell in code if not cell["outputs"]] == []
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "execute_result", "display_data"}
    assert {output["name"] for output in outputs if output["output_type"] == "stream"} == {"stdout"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: str(path.stem))
def test_notebook_shows_nothing_of_the_machine_it_ran_on(path: Path) -> None:
    outputs = [cell["outputs"] for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [word for word in ("/home/", "/root/", "/tmp/", "/Users/") if word in json.dumps(outputs)] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: str(path.stem))
def test_notebook_runs(path: Path, tmp_path: Path) -> None:
    own = {"IPYTHONDIR": str(tmp_path), "JUPYTER_DATA_DIR": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, path],
        cwd=tmp_path,
        env={**os.environ, **own, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
