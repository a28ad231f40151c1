"""Tools of MCP servers, called in sessions that last: over stdio and over HTTP, in sync and in async code."""

import asyncio
import json
import logging
import re
import sys
import threading
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import BaseTool, ToolException

from plan_execute.tools import McpServers, mcp_tools
from plan_execute.tools.mcp.adapter import McpTool
from plan_execute.tools.mcp.session import CallBrokenOffError, CallTimedOutError, ServerUnavailableError
from tests.fakes import ScriptedModel, tool_call
from tests.mcp_servers import SECRET, free_port, listing, serving, stdio, tool_named, wait_until

Tools = dict[str, BaseTool]


def pid_of(tool: Any) -> int:
    """The process of a server; it is another one in each session."""
    return int(json.loads(tool.invoke({}))["PID"])


def test_tool_is_called_over_stdio(over_stdio: Tools) -> None:
    assert over_stdio["look_up"].invoke({"subject": "x"}) == "about x"


def test_tool_is_called_over_http(over_http: Tools) -> None:
    assert over_http["look_up"].invoke({"subject": "x"}) == "about x"
    assert over_http["chat"].invoke({}) == "said"
    assert len(over_http["flood"].invoke({"size": 900_000})) == 900_000


async def test_tool_is_called_in_async_code_and_beside_a_running_loop(over_stdio: Tools, over_http: Tools) -> None:
    for tools in (over_stdio, over_http):
        assert await tools["look_up"].ainvoke({"subject": "x"}) == "about x"
        assert tools["look_up"].invoke({"subject": "x"}) == "about x"


def test_all_calls_share_one_process(over_stdio: Tools) -> None:
    assert pid_of(over_stdio["environment"]) == pid_of(over_stdio["environment"])


async def test_many_calls_at_once_take_as_long_as_one(over_stdio: Tools, over_http: Tools) -> None:
    for tools in (over_stdio, over_http):
        began = time.monotonic()
        waited = await asyncio.gather(*(tools["wait"].ainvoke({"seconds": 0.3}) for _ in range(20)))
        assert waited == ["waited"] * 20
        assert time.monotonic() - began < 20 * 0.3


def test_many_threads_call_at_once(over_stdio: Tools) -> None:
    said: list[str] = []
    calls = [
        threading.Thread(target=lambda n=n: said.append(over_stdio["look_up"].invoke({"subject": str(n)})))
        for n in range(20)
    ]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert sorted(said) == sorted(f"about {n}" for n in range(20))


def test_argument_of_any_name_arrives(over_stdio: Tools) -> None:
    result = over_stdio["weather"].invoke({"place": {"city": "Oslo"}, "config": "c", "self": "s"})
    assert json.loads(result) == {"result": [{"city": "Oslo", "country": "Norway"}, {"config": "c", "self": "s"}]}


def test_what_is_no_text_is_named(over_stdio: Tools) -> None:
    assert over_stdio["picture"].invoke({}) == "a dot\n[image/png, 6 bytes, left out]\nfrom a file"


def test_error_of_a_tool_is_raised(over_stdio: Tools, over_http: Tools) -> None:
    for tools in (over_stdio, over_http):
        with pytest.raises(ToolException, match="Error executing tool fail: no such day") as raised:
            tools["fail"].invoke({"text": "no such day"})
        assert type(raised.value) is ToolException


def test_result_that_is_not_of_its_schema_is_a_result(tmp_path: Path) -> None:
    tool = tool_named("a", outputSchema={"type": "object", "required": ["b"]})
    odd = {"content": [{"type": "text", "text": "odd"}], "structuredContent": {"a": 1}}
    with McpServers({"t": listing(tmp_path, [tool], odd)}) as servers:
        assert servers.tools[0].invoke({}) == "odd"


def test_server_has_only_a_few_variables_of_ours(over_stdio: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET_OF_OURS", "x")
    given = json.loads(over_stdio["environment"].invoke({}))
    assert set(given) <= {"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "NOTES", "TOKEN", "PID", "LC_CTYPE"}


def test_secrets_of_the_file_are_left_out_of_what_a_server_says(over_stdio: Tools) -> None:
    assert json.loads(over_stdio["environment"].invoke({}))["TOKEN"] == "[redacted]"
    with pytest.raises(ToolException) as raised:
        over_stdio["fail"].invoke({"text": f"not {SECRET}"})
    assert str(raised.value) == "Error executing tool fail: not [redacted]"


def test_what_a_server_asks_its_client_for_is_refused(over_stdio: Tools, over_http: Tools) -> None:
    for tools in (over_stdio, over_http):
        assert tools["ask"].invoke({}) == "; ".join(["This client takes no requests."] * 3)


def test_what_is_no_message_is_passed_over(over_stdio: Tools, capfd: pytest.CaptureFixture[str]) -> None:
    assert over_stdio["chat"].invoke({}) == "said"
    assert over_stdio["look_up"].invoke({"subject": "x"}) == "about x"
    assert capfd.readouterr().err == ""


def test_server_that_dies_is_a_failed_call_and_comes_back(over_stdio: Tools, capfd: pytest.CaptureFixture[str]) -> None:
    before = pid_of(over_stdio["environment"])
    with pytest.raises(CallBrokenOffError) as raised:
        over_stdio["die"].invoke({"status": 3})
    assert str(raised.value) == (
        f"The MCP server 't' ({sys.executable}) did not answer the call: it ended with status 3; "
        "it wrote: the end is near."
    )
    assert pid_of(over_stdio["environment"]) != before
    assert capfd.readouterr().err == ""


def test_server_that_hangs_is_a_failed_call_and_told_so(tmp_path: Path) -> None:
    late = pytest.raises(CallTimedOutError, match=r"did not answer in 0\.2 s, and the call was cancelled\.")
    with McpServers({"t": listing(tmp_path, [tool_named("a")])}, call_seconds=0.2) as servers, late:
        servers.tools[0].invoke({})
    asked = (tmp_path / "answers.log").read_text().split()
    assert asked[-2:] == ["tools/call", "notifications/cancelled"]


async def test_cancelled_call_is_cancelled_at_the_server(over_stdio: Tools, notes: Path) -> None:
    before = pid_of(over_stdio["environment"])
    call = asyncio.create_task(over_stdio["hang"].ainvoke({}))
    await asyncio.sleep(0.2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.to_thread(wait_until, notes.exists)
    assert notes.read_text() == "cancelled\n"
    notes.unlink()
    assert pid_of(over_stdio["environment"]) == before


def test_message_beyond_the_limit_is_a_failed_call(over_stdio: Tools) -> None:
    assert len(over_stdio["flood"].invoke({"size": 1_000_000})) == 1_000_000
    text = over_stdio["flood"].invoke({"size": 2_000_000})
    assert text.endswith("(truncated: 2000000 characters in all)")
    assert len(text) < 1_000_100
    with pytest.raises(CallBrokenOffError, match="it sent a message of more than 16 MB"):
        over_stdio["flood"].invoke({"size": 16_500_000})
    assert over_stdio["look_up"].invoke({"subject": "x"}) == "about x"


def test_message_beyond_the_limit_is_a_failed_call_over_http(over_http: Tools) -> None:
    with pytest.raises(CallBrokenOffError, match="it sent a message of more than 16 MB"):
        over_http["flood"].invoke({"size": 16_500_000})
    assert over_http["look_up"].invoke({"subject": "x"}) == "about x"


def test_http_server_that_dies_is_a_failed_call_and_comes_back() -> None:
    port = free_port()
    with ExitStack() as stack:
        with serving("http", port) as url:
            servers = stack.enter_context(McpServers({"t": {"url": url}}))
        tools = {tool.name: tool for tool in servers.tools}
        with serving("http", port):
            with pytest.raises(ServerUnavailableError, match="it no longer knows the session; the next call opens one"):
                tools["t_look_up"].invoke({"subject": "x"})
            assert tools["t_look_up"].invoke({"subject": "x"}) == "about x"
            with pytest.raises(CallBrokenOffError, match="did not answer the call"):
                tools["t_die"].invoke({"status": 1})
        with pytest.raises(ServerUnavailableError, match=rf"\({url}\) cannot be used: All connection attempts failed"):
            tools["t_look_up"].invoke({"subject": "x"})


def test_each_set_of_servers_has_sessions_of_its_own(tmp_path: Path) -> None:
    answer = {"content": [{"type": "text", "text": "found"}]}
    with ExitStack() as stack:
        opened = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            given = {"t": listing(tmp_path / name, [tool_named("a")], answer)}
            opened.append(stack.enter_context(McpServers(given)))
        one, two = (servers.tools[0] for servers in opened)
        assert len({(tmp_path / name / "answers.pid").read_text() for name in ("one", "two")}) == 2
        opened[0].close()
        assert two.invoke({}) == "found"
        with pytest.raises(ToolException, match="The MCP servers were closed"):
            one.invoke({})


def test_any_agent_of_langchain_can_use_them(over_stdio: Tools) -> None:
    asked: Any = {"messages": [("user", "x?")]}
    model = ScriptedModel([tool_call("t_look_up", {"subject": "x"}), "Done."])
    ended = create_agent(model, list(over_stdio.values())).invoke(asked)
    assert [message.text for message in ended["messages"][2:]] == ["about x", "Done."]


STARTS: dict[str, tuple[list[str], str]] = {
    "ends": (
        ["-c", "import sys; sys.exit('no key\\x1b[31m given')"],
        "it ended with status 1; it wrote: no key[31m given.",
    ),
    "ends without a word": (["-c", ""], "it ended with status 0."),
    "floods": (["-c", "while True: print('x' * 1_000_000, end='')"], "it sent a message of more than 16 MB."),
    "hangs": (["-c", "import sys; sys.stdin.read()"], "it did not answer in 1 s."),
    "answers something else": (
        ["-c", 'input(); print(\'{"jsonrpc": "2.0", "id": 0, "result": {}}\', flush=True); input()'],
        "it answers with what is no MCP.",
    ),
    "refuses": (
        ["-c", 'input(); print(\'{"jsonrpc":"2.0","id":0,"error":{"code":1,"message":"no"}}\', flush=True); input()'],
        "no.",
    ),
}


@pytest.mark.parametrize("case", STARTS)
def test_server_that_does_not_start_is_named(case: str, capfd: pytest.CaptureFixture[str]) -> None:
    args, sentence = STARTS[case]
    with pytest.raises(ValueError, match="bad") as raised:
        McpServers({"bad": {"command": sys.executable, "args": ["-S", *args]}}, connect_seconds=1)
    assert str(raised.value) == f"The MCP server 'bad' ({sys.executable}) cannot be used: {sentence}"
    assert capfd.readouterr().err == ""


def test_address_without_a_server_is_named() -> None:
    with pytest.raises(ValueError, match=re.escape("'bad' (http://127.0.0.1:1/mcp) cannot be used: All connection")):
        mcp_tools({"bad": {"url": "http://me:the-password@127.0.0.1:1/mcp?key=some-secret"}})


ANSWERS = {
    "no JSON": ({"Content-Type": "application/json"}, "it answers with what is no MCP."),
    "compressed": (
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        "the response is compressed, which hides how large it is.",
    ),
    "no type": ({"Content-Type": "text/html"}, "Unexpected content type: text/html."),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_address_of_something_else_is_named(
    case: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    headers, sentence = ANSWERS[case]
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.headers)
            self.send_response(200)
            for header in headers.items():
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(b"no JSON")

        def log_message(self, *_: Any) -> None:
            pass

    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as in a program that has set none
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/mcp"
        with pytest.raises(ValueError, match="bad") as raised:
            mcp_tools({"bad": {"url": url, "headers": {"X-Key": SECRET}}})
    assert str(raised.value) == f"The MCP server 'bad' ({url}) cannot be used: {sentence}"
    assert (asked[0]["X-Key"], asked[0]["Accept-Encoding"]) == (SECRET, "identity")
    assert capfd.readouterr().err == ""


def test_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(ValueError, match=re.escape("MCP servers need more packages: pip install '.[mcp]' in a clone")):
        mcp_tools({"t": stdio()})


def test_names_are_valid_for_providers_and_unique(tmp_path: Path) -> None:
    names = ["read", "a.b", "a_b", "my server_x", "ü" * 30, "x" * 100, "read"]
    tools = [tool_named(name, description=str(number)) for number, name in enumerate(names)]
    with McpServers({"my server": listing(tmp_path, tools)}) as servers:
        assert servers.tools[0].description == "0"
        given = [tool.name for tool in servers.tools]
        remote = [tool.remote_name for tool in servers.tools if isinstance(tool, McpTool)]
    assert remote == names[:-1]
    assert given[0] == "my_server_read"
    assert given[3] == "my_server_x"
    assert re.fullmatch(r"my_server_a_b_[0-9a-f]{8}", given[1])
    assert len(set(given)) == 6
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in given)


def test_description_is_bounded_and_all_to_be_seen(tmp_path: Path) -> None:
    tools = [
        tool_named("a", description="Look\u200b up.\U000e0041"),
        tool_named("b", description="b" * 10_000),
        tool_named("c", title="C"),
    ]
    with McpServers({"t": listing(tmp_path, tools)}) as servers:
        a, b, c = (tool.description for tool in servers.tools)
    assert (a, c) == ("Look up.", "C")
    assert b.replace("...\n\n...", "") == "b" * 4_000
    assert len(b.split("\n\n")[0]) == 503


HINTED: dict[str, tuple[dict[str, Any] | None, dict[str, Any], dict[str, Any]]] = {
    "no hints": (None, {}, {"readOnlyHint": False}),
    "hints": ({"readOnlyHint": True, "openWorldHint": True}, {}, {"readOnlyHint": True, "openWorldHint": True}),
    "what is no hint": ({"title": "T", "trusted": True, "effect": "read"}, {}, {"readOnlyHint": False}),
    "effect of all": (None, {"effect": "egress"}, {"readOnlyHint": False, "effect": "egress"}),
    "effect of one": (None, {"effect": {"a": "read", "*": "egress"}}, {"readOnlyHint": False, "effect": "read"}),
    "trusted": (None, {"trusted": True}, {"readOnlyHint": False, "trusted": True}),
}


@pytest.mark.parametrize("case", HINTED)
def test_kind_of_a_tool_is_what_the_user_says_or_else_the_server(case: str, tmp_path: Path) -> None:
    hints, settings, metadata = HINTED[case]
    with McpServers({"t": listing(tmp_path, [tool_named("a", annotations=hints)], **settings)}) as servers:
        assert servers.tools[0].metadata == metadata


def test_only_the_tools_that_are_wanted_are_offered(tmp_path: Path) -> None:
    tools = [tool_named(name) for name in "abc"] + [tool_named("task", execution={"taskSupport": "required"})]
    wanted: list[tuple[dict[str, Any], list[str]]] = [
        ({}, ["t_a", "t_b", "t_c"]),
        ({"includeTools": ["a", "b"]}, ["t_a", "t_b"]),
        ({"includeTools": ["a", "b"], "excludeTools": ["b"]}, ["t_a"]),
    ]
    for settings, names in wanted:
        with McpServers({"t": listing(tmp_path, tools, **settings)}) as servers:
            assert [tool.name for tool in servers.tools] == names
    unknown: list[dict[str, Any]] = [{"includeTools": ["d"]}, {"excludeTools": ["d"]}, {"effect": {"d": "read"}}]
    for settings in unknown:
        with pytest.raises(ValueError, match=r"has no tool 'd': it has a, b, c\."):
            mcp_tools({"t": listing(tmp_path, tools, **settings)})


def test_too_many_tools_are_refused_and_some_of_them_are_not(tmp_path: Path) -> None:
    tools = [tool_named(f"tool {n}") for n in range(1_000)]
    with pytest.raises(
        ValueError, match="has 1000 tools, and at most 200 are offered: name those you want in its 'incl"
    ):
        mcp_tools({"t": listing(tmp_path, tools)})
    with McpServers({"t": listing(tmp_path, tools, includeTools=["tool 7"])}) as servers:
        assert [tool.name for tool in servers.tools] == ["t_tool_7"]
    endless = {"tools": tools, "nextCursor": "again"}
    with pytest.raises(ValueError, match="has more than 1000 tools"):
        mcp_tools({"t": listing(tmp_path, {**endless, "tools": [tool_named(f"{'x' * 9}{n}") for n in range(1_100)]})})


@pytest.mark.parametrize(
    ("listed", "sentence"),
    [
        ([{"name": "a"}], "it did not list its tools: "),
        ({"tools": "none"}, "it did not list its tools: "),
        ("no message", "it did not list its tools in 1 s."),
        ("die", "it ended with status 1."),
    ],
)
def test_list_of_tools_that_is_none_is_refused(listed: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be used") as raised:
        McpServers({"t": listing(tmp_path, listed)}, connect_seconds=1)
    assert sentence in str(raised.value)


def test_result_that_is_none_leaves_the_outcome_open(tmp_path: Path) -> None:
    invalid = pytest.raises(CallBrokenOffError, match=r"did not answer the call: its result is not valid\.")
    with McpServers({"t": listing(tmp_path, [tool_named("a")], {"content": "none"})}) as servers, invalid:
        servers.tools[0].invoke({})


def test_structured_result_without_a_text_is_json(tmp_path: Path) -> None:
    image = {"type": "image", "data": "QUJD", "mimeType": "image/png"}
    result = {"content": [image], "structuredContent": {"a": [1]}}
    with McpServers({"t": listing(tmp_path, [tool_named("a")], result)}) as servers:
        assert servers.tools[0].invoke({}) == '{"a": [1]}\n[image/png, 3 bytes, left out]'
