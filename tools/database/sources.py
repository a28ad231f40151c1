"""What a database is named by, read into what `worker` needs to open it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from plan_execute.tools.database.duckdb import DATA_FILES, SHEETS
from plan_execute.tools.messages import list_names

DIALECTS = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mariadb": "MariaDB", "duckdb": "DuckDB"}
"""The names of the dialects that these tools were tested with, by the name of their module."""

_DRIVERS = {"postgresql": ("psycopg", "postgres"), "mariadb": ("pymysql", "mariadb"), "duckdb": ("duckdb", "data")}
"""The module that each dialect needs, and the extra that brings it."""

_SERVERS = {"postgresql": "postgresql", "postgres": "postgresql", "mysql": "mariadb", "mariadb": "mariadb"}
"""The dialect of a server by what a URL calls it."""


@dataclass(frozen=True)
class Source:
    """A database."""

    kind: str
    """Its dialect, a key of `DIALECTS`."""
    label: str
    """What messages call it: nothing of the user, the password or the options."""
    opens: dict[str, Any]
    """What `worker` reads first."""


def read_source(given: str | Path | Sequence[str | Path], seconds: float) -> Source:
    """Tell what a URL, a path or several paths name.

    Args:
        given: A URL, the path of a database or data file, or several paths of data files.
        seconds: Longest time that connecting may take, in seconds.

    Raises:
        ValueError: There is no such file, or nothing here can read it. The message is one sentence without a password.
    """
    if not isinstance(given, str | Path):
        return _data_files([Path(each).expanduser() for each in given])
    text = str(given)
    scheme, separator, rest = text.partition("://")
    backend = scheme.partition("+")[0].casefold()
    if not separator or backend in ("sqlite", "duckdb"):
        path = Path(rest.removeprefix("/").partition("?")[0] if separator else text).expanduser()
        return _file(path, backend if separator else "")
    return _server(text, scheme, seconds)


def _file(path: Path, kind: str) -> Source:
    suffix = path.suffix.casefold()
    if suffix in DATA_FILES and not kind:
        return _data_files([path])
    if not path.is_file():
        raise ValueError(f"There is no database file {str(path)!r}: give the path of an existing SQLite file.")
    with path.open("rb") as file:
        is_duck = file.read(12)[8:] == b"DUCK"
    kind = kind or ("duckdb" if is_duck else "sqlite")
    _require_driver(kind)
    return _source(kind, str(path), {"path": str(path.resolve())})


def _data_files(paths: list[Path]) -> Source:
    _require_driver("duckdb")
    for path in paths:
        if path.suffix.casefold() not in DATA_FILES:
            raise ValueError(f"{str(path)!r} is no data file: give files ending in {', '.join(DATA_FILES)}.")
        if not path.is_file():
            raise ValueError(f"There is no file {str(path)!r}: give the path of an existing data file.")
        if path.suffix.casefold() in SHEETS and not find_spec("python_calamine"):
            raise ValueError(_lacks("Spreadsheets", "data"))
    if not paths:
        raise ValueError("There are no data files: give the path of one at least.")
    return _source(
        "duckdb", list_names([path.name for path in paths]), {"files": [str(path.resolve()) for path in paths]}
    )


def _server(text: str, scheme: str, seconds: float) -> Source:
    from sqlalchemy.engine import URL, make_url
    from sqlalchemy.exc import ArgumentError

    try:
        address = make_url(text)
        backend = address.get_backend_name()
    except (ArgumentError, ValueError):
        raise ValueError(
            "This is not a database URL: write it as sqlite:///shop.db or postgresql://user@host/name."
        ) from None
    if backend not in _SERVERS:
        raise ValueError(
            f"Unknown kind of database {scheme[:40]!r}: these tools were tested with {', '.join(DIALECTS.values())}, "
            "and read no other."
        )
    kind = _SERVERS[backend]
    address = address.set(drivername=f"{kind}+{_DRIVERS[kind][0]}")
    _require_driver(kind)
    arguments = {"connect_timeout": math.ceil(seconds), **address.get_dialect()().create_connect_args(address)[1]}
    arguments.pop("client_flag", None)
    plain = URL.create(kind, host=address.host, port=address.port, database=address.database)
    return _source(kind, plain.render_as_string(), {"connect": arguments})


def _source(kind: str, label: str, opens: dict[str, Any]) -> Source:
    return Source(kind, label, {"kind": kind, **opens})


def _require_driver(kind: str) -> None:
    module, extra = _DRIVERS.get(kind, ("sqlite3", ""))
    if not find_spec(module):
        raise ValueError(_lacks(f"{DIALECTS[kind]} and data files" if extra == "data" else DIALECTS[kind], extra))


def _lacks(what: str, extra: str) -> str:
    return f"{what} cannot be read without more packages: install the extra '{extra}', as tools/README.md says."
