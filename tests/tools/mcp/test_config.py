"""Files of MCP servers: the shapes of other clients, variables, and one sentence for what is wrong."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from plan_execute.tools import mcp_tools
from plan_execute.tools.mcp.config import read_servers

GIT = {"command": sys.executable, "args": ["-m", "mcp_server_git"]}
WEB = {"url": "https://example.com/mcp"}


@pytest.mark.parametrize("key", ["mcpServers", "servers", None])
def test_files_of_every_client_are_read(key: str | None, tmp_path: Path) -> None:
    servers = {"git": {**GIT, "alwaysAllow": ["x"]}, "web": WEB, "off": {"command": "nothing", "disabled": True}}
    path = tmp_path / "servers.json"
    path.write_text(json.dumps({key: servers, "inputs": []} if key else servers))
    for given in (path, str(path), json.loads(path.read_text())):
        git, web = read_servers(given)
        assert (git.name, git.transport, git.command, git.args) == ("git", "stdio", sys.executable, tuple(GIT["args"]))
        assert (web.name, web.transport, web.url) == ("web", "http", WEB["url"])


@pytest.mark.parametrize(
    ("said", "transport"),
    [
        ("http", "http"),
        ("streamable-http", "http"),
        ("streamable_http", "http"),
        ("streamableHttp", "http"),
        ("sse", "sse"),
    ],
)
@pytest.mark.parametrize("key", ["type", "transport"])
def test_transport_is_read_as_each_client_writes_it(key: str, said: str, transport: str) -> None:
    (server,) = read_servers({"a": {**WEB, key: said}})
    assert server.transport == transport


def test_variables_are_expanded_everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("A_TOKEN", "token-of-the-user")
    monkeypatch.setenv("A_FOLDER", str(tmp_path))
    monkeypatch.setenv("A_PYTHON", sys.executable)
    monkeypatch.setenv("A_HOST", "example.com")
    program, address = read_servers(
        {
            "a": {
                "command": "${A_PYTHON}",
                "args": ["--key=${A_TOKEN}", "$A_TOKEN", "${NOWHERE:-default}"],
                "env": {"KEY": "${env:A_TOKEN}"},
                "cwd": "${A_FOLDER}",
            },
            "b": {"url": "https://${A_HOST}/mcp", "headers": {"Authorization": "Bearer ${A_TOKEN}"}},
        }
    )
    assert (program.command, program.cwd) == (sys.executable, str(tmp_path))
    assert program.args == ("--key=token-of-the-user", "$A_TOKEN", "default")
    assert program.env == {"KEY": "token-of-the-user"}
    assert address.url == "https://example.com/mcp"
    assert address.headers == {"Authorization": "Bearer token-of-the-user"}


def test_secrets_are_known_and_nothing_shows_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("A_TOKEN", "token-of-the-user")
    program, address = read_servers(
        {
            "a": {
                "command": sys.executable,
                "args": ["postgresql://me:pass%2Fword1@host/db", "${A_TOKEN}"],
                "env": {"PLAIN": "another-secret", "DEBUG": "1", "FOLDER": str(tmp_path), "NEW": f"{tmp_path}/new"},
            },
            "b": {
                "url": "https://me:the-password@example.com/mcp?key=query-secret",
                "headers": {"Authorization": "Bearer header-secret", "X-Base": "https://example.com/base"},
            },
        }
    )
    assert set(program.secrets) == {"token-of-the-user", "another-secret", "pass%2Fword1", "pass/word1"}
    assert set(address.secrets) == {"the-password", "query-secret", "Bearer header-secret", "header-secret"}
    for server in (program, address):
        assert not any(secret in f"{server!r}{server.label}" for secret in server.secrets)


def test_folder_of_a_server_is_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "run").write_text("#!/bin/sh\n")
    (tmp_path / "here" / "run").chmod(0o755)
    path = tmp_path / "servers.json"
    path.write_text(json.dumps({"mcpServers": {"a": {"command": "./run", "cwd": "here"}}}))
    (server,) = read_servers(path)
    assert (server.cwd, server.command) == (str(tmp_path / "here"), str(tmp_path / "here" / "run"))


WRONG: dict[str, tuple[Any, str]] = {
    "no server": ({"mcpServers": {}}, "no server that is not disabled"),
    "another shape": ({"tools": ["a"]}, "cannot be read: expected {"),
    "a list": ({"mcpServers": ["a"]}, "cannot be read: expected {"),
    "neither command nor url": ({"a": {"args": []}}, "'a' needs either a 'command' (type stdio) or a 'url'"),
    "both": ({"a": {**GIT, **WEB}}, "'a' needs either a 'command'"),
    "url of type stdio": ({"a": {**WEB, "type": "stdio"}}, "'a' needs either a 'command'"),
    "type": ({"a": {**WEB, "type": "websocket"}}, "'a' has the type 'websocket': expected stdio, http"),
    "command": ({"a": {"command": "no-such-command"}}, "'a' needs the command 'no-such-command', which is not there"),
    "command as a list": ({"a": {"command": ["python"]}}, "'a' has a 'command' that is no text"),
    "args": ({"a": {**GIT, "args": "x y"}}, "'a' has 'args' that are no list of texts"),
    "env": ({"a": {**GIT, "env": {"A": 1}}}, "'a' has 'env' that are not texts by name"),
    "name of a variable": ({"a": {**GIT, "env": {"A=B": "1"}}}, "'a' has a variable 'A=B' in its 'env'"),
    "cwd": ({"a": {**GIT, "cwd": "/no/such/folder"}}, "'a' has the folder '/no/such/folder' as its 'cwd'"),
    "url": ({"a": {"url": "example.com/mcp"}}, "'a' has a 'url' that is none: write it as https://host/path"),
    "port": ({"a": {"url": "http://host:99999/mcp"}}, "'a' has a 'url' that is none"),
    "header": ({"a": {**WEB, "headers": {"X": "a\nb"}}}, "'a' has a header 'X' that HTTP does not allow"),
    "unset": ({"a": {**GIT, "env": {"A": "${NOT_SET}"}}}, "'a' needs the environment variable NOT_SET, which is not"),
    "input": ({"a": {**GIT, "env": {"A": "${input:key}"}}}, "'a' asks for an input as only VS Code can: write ${NAME}"),
    "effect": ({"a": {**GIT, "effect": "reads"}}, "'a' has the effect 'reads': expected read, egress, effect"),
    "trusted": ({"a": {**GIT, "trusted": "yes"}}, "'a' has a 'trusted' that is neither true nor false"),
    "includeTools": ({"a": {**GIT, "includeTools": "x"}}, "'a' has 'includeTools' that are no list of texts"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_one_sentence(case: str) -> None:
    given, sentence = WRONG[case]
    with pytest.raises(ValueError, match="server") as raised:
        mcp_tools(given)
    said = str(raised.value)
    assert sentence in said
    assert said.endswith(".")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{'a': 1}", "is no JSON: Expecting property name enclosed in double quotes in line 1."),
        ("[]", "has no MCP servers in it: expected {"),
        ("\xff", "is no JSON."),
        ("[" * 100_000, "is no JSON."),
    ],
)
def test_file_that_is_none_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "servers.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"servers\.json") as raised:
        mcp_tools(path)
    assert sentence in str(raised.value)


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'.*none.json' cannot be read: No such file or directory\."):
        mcp_tools(tmp_path / "none.json")
