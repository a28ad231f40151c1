"""What a service refuses or cannot do is classed as what it is, in the service's own words, over the real client."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from plan_execute.agent.state import Failure
from plan_execute.graphs import create_plan_execute_agent
from plan_execute.graphs.executor import create_executor
from tests.fakes import plan
from tests.wires.faults import SERVICE, Fault, faults, stream_faults
from tests.wires.serving import Says, Server, Service, serve
from tests.wires.story import FIRST, REQUEST, STREAMED, Story, look_up

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")


class Site:
    """A service's server, and what has a model that asks it; made once for all faults."""

    def __init__(self, service: Service, server: Server) -> None:
        self.server = server
        model = next(iter(service.models(server.url).values()))()
        self.executor: Any = create_executor(model, [look_up])
        self.agent = create_plan_execute_agent(model, model, [look_up])

    def failure(self, fault: Fault, *, streams: bool) -> Failure:
        """Let the first model call of a milestone meet a fault, and say why the milestone failed."""
        brief: Any = {"brief": {"goal": FIRST, "tools": ["look_up"]}}
        self.server.answer = lambda asked: fault.answer
        ended: Any
        if streams:
            *_, (_, ended) = (part for part in self.executor.stream(brief, stream_mode=STREAMED) if part[0] == "values")
        else:
            ended = self.executor.invoke(brief)
        assert (self.server.refused, self.server.broken) == ([], [])
        failure: Failure = ended["milestones"]["m1"]["failure"]
        return failure


@pytest.fixture(scope="module")
def sites() -> Iterator[Mapping[str, Site]]:
    with ExitStack() as stack:
        yield {
            service.name: Site(service, stack.enter_context(serve(service, Story()))) for service in SERVICE.values()
        }


CASES = [
    pytest.param(fault, streams, id=f"{fault.service}: {fault.what}{', streaming' if streams else ''}")
    for streams, made in ((False, faults()), (True, stream_faults()))
    for fault in made
]


@pytest.mark.parametrize(("fault", "streams"), CASES)
def test_milestone_fails_as_the_service_says(sites: Mapping[str, Site], fault: Fault, *, streams: bool) -> None:
    failure = sites[fault.service].failure(fault, streams=streams)
    assert (failure["code"], failure["retry_after"]) == (fault.code, fault.wait)
    assert fault.reason.lower() in failure["message"].lower()


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=f"{fault.service}: {fault.what}")
        for fault in faults()
        if fault.code in {"refusal", "limit"}
    ],
)
def test_planner_tells_why_what_was_said_is_refused_and_asks_in_the_same_form_the_next_time(
    sites: Mapping[str, Site], fault: Fault
) -> None:
    site = sites[fault.service]
    site.server.answer, before = lambda asked: fault.answer, len(site.server.asked)
    ended = site.agent.invoke(REQUEST)
    assert (ended["status"], site.server.refused) == ("aborted", [])
    assert ended["error"] is not None
    assert fault.reason.lower() in ended["error"]["message"].lower()
    site.server.answer = lambda asked: Says(fields=plan(answer="42"))
    assert site.agent.invoke(REQUEST)["answer"] == "42"
    assert len({asked.form for asked in site.server.asked[before:]}) == 1
