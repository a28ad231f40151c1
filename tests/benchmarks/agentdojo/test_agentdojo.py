"""The benchmark of containment plays AgentDojo's episodes as it says; needs the extra `bench`."""

import pytest

pytest.importorskip("agentdojo")

from tests.benchmarks.agentdojo.__main__ import ARMS, run
from tests.benchmarks.agentdojo.suites import Episode, episodes


def episode(suite: str, task: str, attack: str | None = None) -> Episode:
    found = (e for e in episodes([suite], attacked=attack is not None) if task == e.task.ID)
    return next(e for e in found if attack is None or attack == e.attack.ID)


@pytest.mark.parametrize("arm", ARMS)
def test_task_is_done_where_nobody_attacks(arm: str) -> None:
    outcome = run(episode("banking", "user_task_2"), arm)
    assert outcome.done
    assert not outcome.asked


@pytest.mark.parametrize("arm", ARMS)
def test_attack_that_wins_over_a_react_agent_is_contained_in_strict_trust(arm: str) -> None:
    outcome = run(episode("banking", "user_task_2", "injection_task_5"), arm)
    assert outcome.lost is not arm.startswith("strict")
