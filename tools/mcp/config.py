"""What names MCP servers, as Claude Desktop, Cursor and VS Code write it: read and checked before anything starts."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

Transport = Literal["stdio", "http", "sse"]

SHORTEST_SECRET = 8
"""Fewest characters of a value that is kept out of what a server says."""
EXAMPLE = '{"mcpServers": {"git": {"command": "uvx", "args": ["mcp-server-git"]}}}'
_TRANSPORTS: dict[str, Transport] = {"stdio": "stdio", "http": "http", "streamablehttp": "http", "sse": "sse"}
_KINDS = ("read", "egress", "effect")
_VARIABLE = re.compile(r"\$\{(?:env:)?([^}:]+)(?::-([^}]*))?\}")
_INPUT = re.compile(r"\$\{input:")
_HEADER_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)


@dataclass(frozen=True)
class ServerConfig:
    """How one server is reached, and what its user says about its tools."""

    name: str
    transport: Transport
    command: str = ""
    """The program, as a path; only for stdio."""
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    include: tuple[str, ...] | None = None
    """The only tools to offer; None for all."""
    exclude: tuple[str, ...] = ()
    """Tools to leave out."""
    effects: Mapping[str, str] = field(default_factory=dict)
    """The kinds of tools whose hints are wrong, or missing; "*" stands for all others."""
    trusted: bool = False
    """Whether what its tools return is the user's own."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Texts that nothing may show, the longest first."""

    @property
    def label(self) -> str:
        """What messages call it: without arguments and credentials."""
        parts = urlsplit(self.url)
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if self.url else self.command
        return f"The MCP server {self.name!r} ({place})"


def read_servers(given: str | os.PathLike[str] | Mapping[str, Any]) -> list[ServerConfig]:
    """Read which servers a file or a mapping names; those that are disabled are left out.

    Args:
        given: The path of a JSON file, or what would be in it: `{"mcpServers": {name: server}}`, `{"servers": ...}` or
            `{name: server}`.

    Raises:
        ValueError: It cannot be read, a server is not described as it has to be, or an environment variable that it
            refers to is not set. The message is one sentence.
    """
    folder = Path()
    where = "The MCP servers"
    if not isinstance(given, Mapping):
        path = Path(given).expanduser()
        folder, where = path.parent, f"The file {str(path)!r}"
        given = _load(path)
    servers = next((given[key] for key in ("mcpServers", "servers") if key in given), given)
    if not isinstance(servers, Mapping) or not all(isinstance(server, Mapping) for server in servers.values()):
        raise ValueError(f"{where} cannot be read: expected {EXAMPLE}.")
    found = [
        _Reader(str(name), server, folder).read()
        for name, server in servers.items()
        if server.get("disabled") is not True
    ]
    if not found:
        raise ValueError(f"{where} has no server that is not disabled: expected {EXAMPLE}.")
    return found


def _load(path: Path) -> Mapping[str, Any]:
    try:
        loaded = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"The file {str(path)!r} cannot be read: {error.strerror}.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"The file {str(path)!r} is no JSON: {error.msg} in line {error.lineno}.") from None
    except (UnicodeDecodeError, RecursionError):
        raise ValueError(f"The file {str(path)!r} is no JSON.") from None
    if not isinstance(loaded, dict):
        raise ValueError(f"The file {str(path)!r} has no MCP servers in it: expected {EXAMPLE}.")
    return loaded


class _Reader:
    """Reads one server."""

    def __init__(self, name: str, given: Mapping[str, Any], folder: Path) -> None:
        """Take its name, what is said of it, and the folder that its `cwd` is relative to."""
        self.name = name
        self.given = given
        self.folder = folder
        self.secrets: set[str] = set()

    def read(self) -> ServerConfig:
        kind = self.given.get("type", self.given.get("transport", "http" if "url" in self.given else "stdio"))
        transport = _TRANSPORTS.get(re.sub("[-_]", "", str(kind)).lower())
        if transport is None:
            raise self._error(f"has the type {kind!r}: expected stdio, http (or streamable-http) or sse")
        if ("command" in self.given) == ("url" in self.given) or (transport == "stdio") == ("url" in self.given):
            raise self._error("needs either a 'command' (type stdio) or a 'url' (type http or sse)")
        reach = self._program() if transport == "stdio" else self._address()
        effect = self.given.get("effect", {})
        effects = effect if isinstance(effect, Mapping) else {"*": effect}
        if wrong := [kind for kind in effects.values() if kind not in _KINDS]:
            raise self._error(f"has the effect {wrong[0]!r}: expected {', '.join(_KINDS)}")
        if not isinstance(trusted := self.given.get("trusted", False), bool):
            raise self._error("has a 'trusted' that is neither true nor false")
        include = self._texts("includeTools") if "includeTools" in self.given else None
        return ServerConfig(
            self.name,
            transport,
            **reach,
            include=include,
            exclude=self._texts("excludeTools"),
            effects={str(tool): kind for tool, kind in effects.items()},
            trusted=trusted,
            secrets=tuple(sorted(filter(_is_secret, self.secrets), key=len, reverse=True)),
        )

    def _program(self) -> dict[str, Any]:
        command = self._expand(self._text("command"))
        env = self._mapping("env")
        if wrong := [name for name in env if "=" in name or not name]:
            raise self._error(f"has a variable {wrong[0]!r} in its 'env', which no variable can be called")
        self._keep_secret(env.values())
        cwd = self.folder / Path(self._expand(self._text("cwd"))).expanduser() if "cwd" in self.given else None
        if cwd is not None and not cwd.is_dir():
            raise self._error(f"has the folder {str(cwd)!r} as its 'cwd', which does not exist")
        path = str((cwd or Path()) / command) if os.path.dirname(command) else command
        program = shutil.which(os.path.expanduser(path), path=env.get("PATH"))
        if program is None:
            raise self._error(f"needs the command {command!r}, which is not there: install it, or give its path")
        args = tuple(map(self._expand, self._texts("args")))
        for text in args:
            self._keep_passwords(text)
        return {"command": os.path.abspath(program), "args": args, "env": env, "cwd": str(cwd) if cwd else None}

    def _address(self) -> dict[str, Any]:
        url = self._expand(self._text("url"))
        headers = self._mapping("headers")
        self._keep_secret(headers.values())
        self._keep_secret(word for value in headers.values() for word in value.split())
        self._keep_passwords(url)
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and url.isprintable()
        except ValueError:
            good = False
        if not good:
            raise self._error("has a 'url' that is none: write it as https://host/path")
        for name, value in headers.items():
            if not (_HEADER_NAME.fullmatch(name) and value.isascii() and value.isprintable()):
                raise self._error(f"has a header {name!r} that HTTP does not allow: names and values are plain ASCII")
        return {"url": url, "headers": headers}

    def _text(self, key: str) -> str:
        value = self.given[key]
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise self._error(f"has a {key!r} that is no text")
        return value

    def _texts(self, key: str) -> tuple[str, ...]:
        values = self.given.get(key, [])
        if not isinstance(values, list | tuple) or not all(isinstance(v, str) and "\0" not in v for v in values):
            raise self._error(f"has {key!r} that are no list of texts")
        return tuple(values)

    def _mapping(self, key: str) -> dict[str, str]:
        values = self.given.get(key, {})
        if not isinstance(values, Mapping) or not all(
            isinstance(text, str) and "\0" not in text for pair in values.items() for text in pair
        ):
            raise self._error(f"has {key!r} that are not texts by name")
        return {name: self._expand(value) for name, value in values.items()}

    def _expand(self, text: str) -> str:
        """Put the values of environment variables into a text; each counts as a secret."""
        if _INPUT.search(text):
            raise self._error("asks for an input as only VS Code can: write ${NAME} and set the environment variable")

        def value_of(found: re.Match[str]) -> str:
            name, default = found.groups()
            value = os.environ.get(name) or default
            if value is None:
                raise self._error(f"needs the environment variable {name}, which is not set")
            self._keep_secret([value])
            return value

        return _VARIABLE.sub(value_of, text)

    def _keep_secret(self, values: Any) -> None:
        for value in values:
            self.secrets.add(value)
            self._keep_passwords(value)

    def _keep_passwords(self, text: str) -> None:
        """Count as secrets the password in a URL, and the values of its query."""
        try:
            parts = urlsplit(text)
        except ValueError:
            return
        if parts.scheme and parts.netloc:
            password = parts.password or ""
            self.secrets |= {password, unquote(password)}
            self.secrets |= {unquote(pair.partition("=")[2]) for pair in parts.query.split("&")}

    def _error(self, text: str) -> ValueError:
        return ValueError(f"The MCP server {self.name!r} {text}.")


def _is_secret(text: str) -> bool:
    """Tell whether to hide a text: not the name of a file or a plain address, which results are full of."""
    plain_address = re.fullmatch(r"\w+://[^\s@?]+", text)
    folder = os.path.dirname(text)
    is_path = os.path.exists(text) or (len(folder) > 1 and os.path.isdir(folder))
    return len(text) >= SHORTEST_SECRET and not plain_address and not is_path
