"""Which settings there are, and which wins."""

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from plan_execute.agent.context import MODEL_FIELDS, Budget, Context, effective_context, make_context
from plan_execute.agent.errors import ConfigurationError
from plan_execute.agent.state import PlanExecuteInput
from plan_execute.graphs import create_executor, create_plan_execute_agent
from plan_execute.graphs.plan_execute import PlanExecuteAgent
from tests.fakes import Answer, Asked, ScriptedModel, heavy, milestone, plan, report, synthesis

ASKED: PlanExecuteInput = {"messages": [{"role": "user", "content": "Think."}]}


def test_every_field_has_a_title_a_description_and_a_default() -> None:
    schema = Context.model_json_schema()
    assert "required" not in schema
    for name, field in schema["properties"].items():
        assert field.get("title") or "$ref" in field, name
        assert field.get("description"), name


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"planner_model": "gpt5"}, "Unknown model 'gpt5': write it as provider:model, for example 'openai:gpt-5'."),
        ({"planner_model": 5}, "expected provider:model"),
        ({"max_replan": 1}, "Unknown setting 'max_replan': expected one of planner_model"),
        ({"max_replans": -1}, "Bad value -1 for 'max_replans': Input should be greater than or equal to 0."),
        ({"granularity": "tiny"}, "Bad value 'tiny' for 'granularity'"),
        ({"budget": {"dollars": 1}}, "Unknown setting 'budget.dollars': expected one of heavy_calls, tokens, usd"),
        ({"budget": {"usd": "much"}}, "Bad value 'much' for 'budget.usd'"),
        (
            {"prices": {"gpt-5": {"in": 1, "input": 1, "output": 1}}},
            "'prices.gpt-5.in': expected one of input, output.",
        ),
        ({"executor_model": "opnai:gpt-5"}, "Unknown provider 'opnai' in 'opnai:gpt-5': did you mean 'openai:gpt-5'?"),
        ({"executor_model": "nobody:x"}, "Unknown provider 'nobody' in 'nobody:x': write the model as provider:model"),
        ({"verifier_model": "openai:"}, "Unknown model 'openai:': write it as provider:model"),
    ],
)
def test_bad_setting_gets_one_sentence(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        make_context(settings)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_replan": 1}, "Unknown setting 'max_replan': expected one of planner_model"),
        ({"max_replans": "many"}, "Bad value 'many' for 'max_replans'"),
        ({"planner_model": "opnai:gpt-5"}, "did you mean 'openai:gpt-5'?"),
    ],
)
def test_bad_setting_of_a_run_gets_the_same_sentence(settings: dict[str, object], said: str) -> None:
    agent = create_plan_execute_agent(ScriptedModel([]))
    with pytest.raises(ConfigurationError) as error:
        agent.invoke({"messages": [HumanMessage("hi")]}, context=settings)  # type: ignore[call-overload]  # as JSON would
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["openai:gpt-5", "google-genai:gemini", "local:smollm2", "Ollama:qwen3:8b"])
def test_known_provider_passes_without_its_package(name: str) -> None:
    assert Context(planner_model=name).planner_model == name


def test_granularity_sets_the_limits_and_a_number_overrides_them() -> None:
    assert [Context(granularity=g).milestone_limit for g in ("coarse", "balanced", "fine")] == [6, 25, 100]
    assert Context(granularity="coarse", max_milestones=9).milestone_limit == 9
    assert Context(max_tool_calls=1).tool_call_limit == 1


def test_passed_wins_over_frozen_wins_over_graph() -> None:
    defaults = Context(max_replans=7, max_parallel=2, planner_instructions="graph")
    frozen = Context(max_replans=5, planner_instructions="frozen").over(defaults).freeze()
    in_force = effective_context(defaults, frozen, Context(max_replans=1))
    assert (in_force.max_replans, in_force.planner_instructions, in_force.max_parallel) == (1, "frozen", 2)


def test_setting_equal_to_the_default_still_wins() -> None:
    assert effective_context(Context(max_replans=7), None, Context(max_replans=3)).max_replans == 3


LOOSER: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"trust": "strict"}, {"trust": "open"}),
    ({"trust": "strict"}, {"trust": "auto"}),
    ({}, {"trust": "open"}),
    ({"review": "every"}, {"review": "first"}),
    ({"review": "first"}, {"review": "never"}),
    ({"verify": "model"}, {"verify": "rules"}),
    ({"approve_tainted": True}, {"approve_tainted": False}),
    ({"approve_tools": ("send",)}, {"approve_tools": ()}),
    ({"max_replans": 1}, {"max_replans": 9}),
    ({"max_attempts": 1}, {"max_attempts": 2}),
    ({"max_parallel": 2}, {"max_parallel": 50}),
    ({"max_milestones": 3}, {"max_milestones": None}),
    ({"max_tool_calls": 3}, {"max_tool_calls": None}),
    ({"max_tool_calls": 3}, {"max_tool_calls": 4}),
    ({"max_model_calls": 3}, {"max_model_calls": 25}),
    ({"milestone_timeout": 3}, {"milestone_timeout": 600}),
    ({"budget": {"usd": 1, "tokens": 10}}, {"budget": {"usd": 2}}),
    ({"budget": {"usd": 1, "tokens": 10}}, {"budget": {}}),
]


@pytest.mark.parametrize(("built", "passed"), LOOSER, ids=str)
@pytest.mark.parametrize("way", ["passed", "frozen", "both"])
def test_run_cannot_loosen_what_its_graph_was_built_with(
    built: dict[str, Any], passed: dict[str, Any], way: str
) -> None:
    defaults, loose = Context(**built), Context(**passed)
    frozen = None if way == "passed" else {**loose.over(defaults).freeze(), "trust": "open"}
    in_force = effective_context(defaults, frozen, None if way == "frozen" else loose)
    for name in built or {"trust": "auto"}:
        assert getattr(in_force, name) == getattr(defaults, name)


@pytest.mark.parametrize(("passed", "built"), LOOSER[:2] + LOOSER[3:], ids=str)
def test_run_can_tighten_what_its_graph_was_built_with(passed: dict[str, Any], built: dict[str, Any]) -> None:
    tight = Context(**passed)
    for in_force in (effective_context(Context(**built), None, tight), effective_context(Context(), None, tight)):
        for name in passed:
            assert getattr(in_force, name) == getattr(tight, name)


def test_approvals_of_graph_and_run_add_up_and_the_smaller_of_each_budget_counts() -> None:
    built = Context(approve_tools=("send", "pay"), budget=Budget(usd=1, tokens=10))
    passed = Context(approve_tools=("delete", "pay"), budget=Budget(usd=2, tokens=5, seconds=3))
    in_force = effective_context(built, None, passed)
    assert in_force.approve_tools == ("send", "pay", "delete")
    assert in_force.budget.model_dump(exclude_none=True) == {"usd": 1, "tokens": 5, "seconds": 3}


def test_run_that_began_strict_stays_so_whatever_its_resume_says() -> None:
    defaults = Context(trust="open")
    frozen = {**Context(trust="strict").over(defaults).freeze(), "trust": "strict"}
    for passed in (None, Context(trust="open"), Context(trust="auto")):
        assert effective_context(defaults, frozen, passed).trust == "strict"


def test_limits_that_the_graph_was_not_built_with_are_the_runs() -> None:
    frozen = Context(max_replans=5, max_tool_calls=2).freeze()
    resumed = effective_context(Context(), frozen, Context(max_replans=9, max_tool_calls=None))
    assert (resumed.max_replans, resumed.max_tool_calls) == (9, None)


FILES = ["model.gguf", "notes.txt", "nowhere.gguf", "folder", "folder/none"]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, a file that is none, and another folder; it is the working directory."""
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    (tmp_path / "notes.txt").write_text("no model")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings_with(way: str, settings: dict[str, Any]) -> tuple[Any, Any]:
    """The input of a graph and the context of its run, with settings that come in one of the ways open to a caller."""
    run = {"settings": settings, "usage": {}, "seconds": 0.0, "effects": {}}
    given = {"brief": {"goal": "Think."}, **({"run": run} if way == "run" else {})}
    return (ASKED if way == "agent" else given), (None if way == "run" else settings)


@pytest.mark.parametrize("way", ["agent", "executor", "run"])
@pytest.mark.parametrize("provider", ["local", "huggingface", "HuggingFace"])
@pytest.mark.parametrize("role", MODEL_FIELDS)
def test_caller_learns_nothing_about_files(files: Path, role: str, provider: str, way: str) -> None:
    model = ScriptedModel([])
    graph: Any = create_plan_execute_agent(model) if way == "agent" else create_executor(model)
    said = set()
    for name in [*FILES, *(str(files / name) for name in FILES)]:
        given, context = settings_with(way, {role: f"{provider}:{name}"})
        with pytest.raises(ConfigurationError, match=r"cannot be chosen by a run.*create_plan_execute_agent") as error:
            graph.invoke(given, context=context)
        said.add(str(error.value).replace(name, "..."))
    assert len(said) == 1
    assert model.asked == []


def test_settings_stored_on_a_thread_name_no_file_either(files: Path) -> None:
    agent, config, own = run_until_stopped("executor", {"max_replans": 1})
    settings = agent.get_state(config).values["settings"]
    agent.update_state(config, {"settings": {**settings, "executor_model": "local:model.gguf"}})
    with pytest.raises(ConfigurationError, match="cannot be chosen by a run"):
        agent.invoke(Command(resume={"type": "approve"}), config)
    assert own.asked == []


@pytest.mark.parametrize("built", [{"planner_model": "local:nowhere.gguf"}, {"verifier_model": "local:nowhere.gguf"}])
def test_model_file_that_the_graph_was_built_with_can_be_chosen(built: dict[str, str]) -> None:
    agent: Any = create_plan_execute_agent(context=built)
    output = agent.invoke(ASKED, context={"planner_model": "local:nowhere.gguf"})
    assert output["error"]["code"] == "planner_unavailable"
    assert "No model file at 'nowhere.gguf'" in output["error"]["message"]


def test_bundled_model_can_be_chosen() -> None:
    agent: Any = create_plan_execute_agent(heavy(plan(answer="Hello.")))
    assert agent.invoke(ASKED, context={"verifier_model": "local:smollm2"})["answer"] == "Hello."


def test_setting_left_empty_is_not_frozen() -> None:
    resumed = effective_context(Context(planner_model="openai:x"), Context(max_replans=1).freeze(), None)
    assert (resumed.planner_model, resumed.max_replans) == ("openai:x", 1)


def test_foreign_context_of_a_host_is_ignored() -> None:
    assert effective_context(Context(max_replans=7), None, object()).max_replans == 7


def test_model_instance_stays_with_the_graph_when_settings_are_frozen() -> None:
    model = ScriptedModel([])
    frozen = Context(planner_model=model, executor_model="openai:x").freeze()
    assert "planner_model" not in frozen
    in_force = effective_context(Context(planner_model=model), frozen, None)
    assert in_force.planner_model is model
    assert in_force.executor_model == "openai:x"


def run_until_stopped(role: str, context: dict[str, Any]) -> tuple[PlanExecuteAgent, RunnableConfig, ScriptedModel]:
    """Begin a run whose models are the graph's, but for those passed; it stops for a review."""

    def anything(asked: Asked) -> Answer:
        return synthesis() if asked.tools == ["Synthesis"] else report()

    own = ScriptedModel(anything)
    agent = create_plan_execute_agent(
        heavy(plan(milestone("Think.", tools=[]))), own, checkpointer=InMemorySaver(), context={"review": "first"}
    )
    config: RunnableConfig = {"configurable": {"thread_id": role}}
    assert "__interrupt__" in agent.invoke(ASKED, config, context=Context(**context))
    return agent, config, own


@pytest.mark.parametrize("role", MODEL_FIELDS)
def test_run_is_not_resumed_on_other_models_than_the_instances_it_began_with(role: str) -> None:
    passed = heavy(plan(milestone("Think.", tools=[]))) if role == "planner_model" else ScriptedModel([report()])
    agent, config, own = run_until_stopped(role, {role: passed})
    before = agent.get_state(config)
    resumes: tuple[Command[Any] | None, ...] = (None, Command(resume={"type": "approve"}))
    for resume in resumes:
        for context in (None, Context(max_replans=1)):
            with pytest.raises(ConfigurationError, match=f"{role!r} is missing.*Resume it with"):
                agent.invoke(resume, config, context=context)
    assert agent.get_state(config).values == before.values
    assert own.asked == []
    resumed = agent.invoke(Command(resume={"type": "approve"}), config, context=make_context({role: passed}))
    assert resumed["status"] in {"completed", "partial"}


def test_new_request_on_a_thread_needs_no_model_of_an_earlier_run() -> None:
    agent, config, own = run_until_stopped("executor", {"executor_model": ScriptedModel([report()])})
    agent.invoke(ASKED, config)
    assert agent.invoke(Command(resume={"type": "approve"}), config)["status"] == "completed"
    assert own.asked


def test_run_on_the_graphs_own_instances_is_resumed_on_them() -> None:
    agent, config, own = run_until_stopped("executor", {"max_replans": 1})
    assert agent.invoke(Command(resume={"type": "approve"}), config)["status"] == "completed"
    assert own.asked
