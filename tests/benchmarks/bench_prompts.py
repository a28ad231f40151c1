"""How large the prompts of each role get as a run grows: 5, 10, 20, 40 milestones with results of 3,000 characters.

    python -m tests.benchmarks.bench_prompts

Each run has one failure near its end, so that the replanner is asked too.
"""

from typing import Any

from langchain_core.tools import tool

from plan_execute.graphs import create_plan_execute_agent
from tests.fakes import Answer, Asked, ScriptedModel, diligent, goal_of, milestone, plan, report, synthesis

RESULT = "y" * 3_000


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


def largest_prompts(count: int) -> dict[str, int]:
    """The largest prompt of each role, in characters, in a run of so many milestones, each building on the last."""
    goals = [milestone(f"Part {n} of the work", depends_on=[f"m{n}"] if n else []) for n in range(count)]
    drafts = [plan(*goals, milestone("broken")), plan(milestone("another way"), requirements=[])]

    def heavy(asked: Asked) -> Answer:
        return synthesis() if asked.tools == ["Synthesis"] else drafts.pop(0)

    def light(asked: Asked) -> Answer:
        if goal_of(asked) == "broken":
            return report("no", "failed")
        return report(RESULT) if any(message.type == "tool" for message in asked.messages) else diligent(asked)

    planner, executor = ScriptedModel(heavy), ScriptedModel(light)
    context: Any = {"max_milestones": count + 1}
    output = create_plan_execute_agent(planner, executor, [look_up], context=context).invoke(
        {"messages": [{"role": "user", "content": "Do all of the work."}]}
    )
    assert output["status"] == "completed", output["error"]
    plans = [asked for asked in planner.asked if asked.tools == ["PlanDraft"]]
    return {
        "planner": len(plans[0].text),
        "replanner": len(plans[1].text),
        "executor": max(len(asked.text) for asked in executor.asked),
        "synthesizer": max(len(asked.text) for asked in planner.asked if asked.tools == ["Synthesis"]),
    }


def main() -> None:
    """Print the table."""
    sizes = {count: largest_prompts(count) for count in (5, 10, 20, 40)}
    print("Largest prompt in characters, by milestones in the run")
    print(f"{'role':<12}" + "".join(f"{count:>10}" for count in sizes))
    for role in ("planner", "replanner", "executor", "synthesizer"):
        print(f"{role:<12}" + "".join(f"{sizes[count][role]:>10,}" for count in sizes))


if __name__ == "__main__":
    main()
