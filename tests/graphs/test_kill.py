"""SIGKILL in the middle of a run, at a sample of its events; `python -m tests.killed_runs` kills at each of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("parallel", [1, 2])
def test_killed_run_goes_on_in_a_new_process_to_the_same_answer(kept_url: str, parallel: int) -> None:
    command = [sys.executable, "-m", "tests.killed_runs", kept_url, "--parallel", str(parallel), "--sample", "12"]
    told = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=900, check=True).stdout
    for line in told.splitlines():
        print(line)
        summary = json.loads(line)
        assert summary.pop("kill points") >= 2
        assert set(summary.values()) <= {0, "single", "double", parallel}
        assert summary["wrong answers"] == summary["finished milestones run again"] == 0
        assert summary["effects duplicated"] == summary["effects lost"] == 0
