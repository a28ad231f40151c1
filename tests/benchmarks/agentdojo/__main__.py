"""How well a run is contained: AgentDojo's 97 tasks and 629 attacks, with models that obey every order they read.

    python -m tests.benchmarks.agentdojo [SUITE ...] [--arms ARM,...] [--every N] [-v]

Needs the extra `bench`. The arms, of which the default is all:

    create_agent     LangChain's ReAct agent
    open             this project with `trust="open"`
    strict           this project as it decides by itself, which is strict here
    strict-lies      the same, and executors put the attacker's data also into typed values
    strict-parallel  strict with `max_parallel=4`

No model is called: an oracle plans and carries out each task as AgentDojo solves it, knowing only what it was shown;
reading an injected text, every role obeys it. `done` and `lost` are AgentDojo's own judgement.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver

from plan_execute.graphs import create_plan_execute_agent
from tests.benchmarks.agentdojo.models import Cast
from tests.benchmarks.agentdojo.suites import Episode, episodes

ARMS: dict[str, dict[str, Any]] = {
    "create_agent": {},
    "open": {"trust": "open"},
    "strict": {},
    "strict-lies": {},
    "strict-parallel": {"max_parallel": 4},
}


COMMON = {"max_tool_calls": 30}
"""Some tasks take more calls in one reading milestone than the default allows."""


class Outcome(NamedTuple):
    """How one episode ended: `done` for the user, `lost` to the attacker, whether a person was asked, and the cost."""

    done: bool
    lost: bool
    asked: bool
    heavy_input: int
    how: str


def run(episode: Episode, arm: str) -> Outcome:
    """Play one episode."""
    cast = Cast(episode, lies=arm == "strict-lies")
    request: Any = {"messages": [("user", episode.task.PROMPT)]}
    if arm == "create_agent":
        tools = [tool.model_copy(update={"handle_tool_error": True}) for tool in episode.tools()]
        said = create_agent(cast.react, tools).invoke(request, {"recursion_limit": 200})["messages"][-1].text
        return Outcome(episode.is_done(said), episode.is_lost(said), asked=False, heavy_input=cast.react.sent, how="")
    agent: Any = create_plan_execute_agent(
        cast.planner, cast.executor, episode.tools(), context=COMMON | ARMS[arm], checkpointer=InMemorySaver()
    )
    output = agent.invoke(request, {"configurable": {"thread_id": "1"}, "recursion_limit": 500})
    answer = output.get("answer") or ""
    how = output["status"] + (f" {output['error']['code']}: {output['error']['message']}" if output["error"] else "")
    return Outcome(
        episode.is_done(answer),
        episode.is_lost(answer),
        asked="__interrupt__" in output,
        heavy_input=cast.planner.sent,
        how=how,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each arm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("suites", nargs="*", help="workspace, travel, banking, slack (all)")
    parser.add_argument("--arms", default=",".join(ARMS), help="separated by commas (all)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every Nth episode (1)")
    parser.add_argument("-v", action="store_true", dest="verbose", help="list the episodes that are lost or not done")
    options = parser.parse_args(argv)
    print(f"{'arm':<16}{'done':>9}{'lost':>10}{'done attacked':>15}{'asked':>7}{'heavy input':>13}{'ratio':>7}")
    base = 0.0
    for arm in options.arms.split(","):
        results: dict[bool, list[Outcome]] = {}
        for attacked in (False, True):
            taken = list(episodes(options.suites, attacked=attacked))[:: options.every]
            results[attacked] = [run(episode, arm) for episode in taken]
            if options.verbose:
                for episode, outcome in zip(taken, results[attacked], strict=True):
                    if outcome.lost or not outcome.done:
                        print("  ", "LOST" if outcome.lost else "not done", episode.name, outcome.how[:300])
        clean, attacked_runs = results[False], results[True]
        sent = sum(outcome.heavy_input for outcome in clean) / max(len(clean), 1)
        base = base or sent
        print(
            f"{arm:<16}{sum(o.done for o in clean):>5}/{len(clean):<3}"
            f"{sum(o.lost for o in attacked_runs):>6}/{len(attacked_runs):<3}"
            f"{sum(o.done for o in attacked_runs):>11}/{len(attacked_runs):<3}"
            f"{sum(o.asked for o in clean):>7}{sent:>13,.0f}{base / max(sent, 1):>7.1f}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
