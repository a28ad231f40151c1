"""What a service refuses or cannot do is classed as what it is, in the service's own words, over the real client."""

from typing import Any

import pytest

from plan_execute.graphs.executor import create_executor
from tests.wires.faults import SERVICE, Fault, faults
from tests.wires.serving import serve
from tests.wires.story import FIRST, look_up

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")


@pytest.mark.parametrize("fault", [pytest.param(fault, id=f"{fault.service}: {fault.what}") for fault in faults()])
def test_milestone_fails_as_the_service_says(fault: Fault) -> None:
    service = SERVICE[fault.service]
    brief: Any = {"goal": FIRST, "tools": ["look_up"]}
    with serve(service, lambda asked: fault.answer) as server:
        model = next(iter(service.models(server.url).values()))()
        ended = create_executor(model, [look_up]).invoke({"brief": brief})
    failure = ended["milestones"]["m1"]["failure"]
    assert (server.refused, server.broken) == ([], [])
    assert (failure["code"], failure["retry_after"]) == (fault.code, fault.wait)
    assert fault.reason.lower() in failure["message"].lower()
