"""Prints how runs end in front of each service, and how `create_agent` does: `python -m tests.wires`."""

import logging
import warnings
from collections.abc import Callable

from langchain_core.language_models import BaseChatModel

from tests.wires.services import SERVICES
from tests.wires.serving import Service, serve
from tests.wires.story import Story, run_create_agent, run_sync


def main() -> None:
    """Run each model of each service both ways, with unique ids, and with a server that repeats them."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(
        "| Client | plan-execute | requests, refused | ids repeat | `create_agent` | requests, refused | ids repeat |"
    )
    print("|---|---|---:|---|---|---:|---|")
    for service in SERVICES:
        rows: dict[tuple[str, ...], list[str]] = {}
        for variant in service.models("http://127.0.0.1"):
            cells: list[str] = []
            for run in (run_sync, run_create_agent):
                cells += _end(run, service, variant)
                cells.append(_end(run, service, variant, same_ids=True)[0])
            rows.setdefault(tuple(cells), []).append(variant or "plain")
        for row, variants in rows.items():
            name = f"{service.name}: {'; '.join(variants)}"
            print("|", " | ".join([name, *row]), "|", flush=True)


def _end(
    run: Callable[[BaseChatModel], str], service: Service, variant: str, *, same_ids: bool = False
) -> tuple[str, str]:
    """Run once, and say how it ended and how many requests were made and refused."""
    with serve(service, Story(), same_ids=same_ids) as server:
        ending = run(service.models(server.url)[variant]())
    return ending, f"{len(server.asked)}, {len(server.refused)}"


if __name__ == "__main__":
    main()
