"""A run over the real client of each service, in front of a server that refuses what the service refuses."""

import pytest

from tests.wires.services import SERVICES
from tests.wires.serving import Service, serve
from tests.wires.story import Story, run_async, run_sync

MODELS = [
    pytest.param(service, variant, id=" ".join(filter(None, (service.name, variant))))
    for service in SERVICES
    for variant in service.models("http://127.0.0.1")
]


@pytest.mark.parametrize(("service", "variant"), MODELS)
def test_run_is_completed_and_no_request_refused(service: Service, variant: str) -> None:
    with serve(service, Story()) as server:
        ending = run_sync(service.models(server.url)[variant]())
    assert (server.refused, server.broken, ending) == ([], [], "completed")


@pytest.mark.parametrize(("service", "variant"), MODELS)
async def test_run_in_async_code_is_completed_and_no_request_refused(service: Service, variant: str) -> None:
    with serve(service, Story()) as server:
        ending = await run_async(service.models(server.url)[variant]())
    assert (server.refused, server.broken, ending) == ([], [], "completed")


@pytest.mark.parametrize(("service", "variant"), MODELS)
def test_run_is_completed_although_all_ids_are_the_same(service: Service, variant: str) -> None:
    with serve(service, Story(), same_ids=True) as server:
        ending = run_sync(service.models(server.url)[variant]())
    assert (server.refused, server.broken, ending) == ([], [], "completed")
