"""A run over the real client of each service, in front of a server that refuses what the service refuses."""

from typing import Any

import pytest

from plan_execute.agent.llm.parsing import json_schema_of
from plan_execute.agent.schemas import PlanDraft
from plan_execute.graphs.executor import create_executor
from tests.fakes import plan
from tests.wires.services import SERVICES
from tests.wires.serving import Answer, Asked, Says, Service, serve
from tests.wires.story import FIRST, Story, look_up, run_async, run_streaming, run_streaming_async, run_sync

# Google's client subclasses aiohttp's session, which warns of that.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")

MODELS = [
    pytest.param(service, variant, id=" ".join(filter(None, (service.name, variant))))
    for service in SERVICES
    for variant in service.models("http://127.0.0.1")
]


@pytest.mark.parametrize(("service", "variant"), MODELS)
def test_run_is_completed_and_no_request_refused(service: Service, variant: str) -> None:
    with serve(service, story := Story()) as server:
        ending = run_sync(service.models(server.url)[variant]())
    assert (server.refused, server.broken, ending) == ([], [], "completed")
    assert story.is_told


@pytest.mark.parametrize("run", [run_async, run_streaming_async])
@pytest.mark.parametrize(("service", "variant"), MODELS)
async def test_run_in_async_code_is_completed_and_no_request_refused(service: Service, variant: str, run: Any) -> None:
    with serve(service, story := Story()) as server:
        ending = await run(service.models(server.url)[variant]())
    assert (server.refused, server.broken, ending) == ([], [], "completed")
    assert story.is_told


@pytest.mark.parametrize(("service", "variant"), MODELS)
def test_streamed_run_is_completed_although_all_ids_are_the_same(service: Service, variant: str) -> None:
    with serve(service, story := Story(), same_ids=True) as server:
        ending = run_streaming(service.models(server.url)[variant]())
    assert any(asked.stream for asked in server.asked) or "Llama" in variant  # which calls no tools while streaming
    assert (server.refused, server.broken, ending) == ([], [], "completed")
    assert story.is_told


@pytest.mark.parametrize(("service", "variant"), MODELS)
def test_plan_is_asked_for_in_the_best_form_and_no_client_changes_its_schema(service: Service, variant: str) -> None:
    model = service.models("http://127.0.0.1")[variant]()
    with serve(service, lambda asked: Says(fields=plan(answer="42"))) as server:
        run_sync(service.models(server.url)[variant]())
    is_native = (model.profile or {}).get("structured_output", not model.profile)
    assert (server.asked[0].form == "json") is is_native
    assert json_schema_of(PlanDraft) == PlanDraft.model_json_schema()


def test_context_overflow_leaves_what_was_found_and_ends_the_milestone_as_too_broad() -> None:
    service, story = SERVICES[0], Story()

    def answer(asked: Asked) -> Answer:
        results = [turn for turn in asked.turns if turn.role == "tool"]
        return service.error(400, "prompt is too long: 9 tokens > 5 maximum") if results else story(asked)

    with serve(service, answer) as server:
        model = next(iter(service.models(server.url).values()))()
        brief: Any = {"goal": FIRST, "tools": ["look_up"]}
        ended = create_executor(model, [look_up]).invoke({"brief": brief})
    failure = ended["milestones"]["m1"]["failure"]
    assert failure["code"] == "limit"
    assert "prompt is too long" in failure["message"]
    assert "new: 42" in failure["evidence"]
