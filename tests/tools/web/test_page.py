"""What is read from a page, and which addresses are never reached."""

import gzip
import itertools
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.tools import BaseTool, ToolException

from plan_execute.tools import read_page, read_page_tool
from plan_execute.tools.web.page import MAX_TEXT
from tests.drawn import drawn
from tests.tools.serving import Reply, Request, serving

pytest.importorskip("trafilatura")

HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGE = """<html><head><title>Tarns</title></head><body><nav><a href="/">Home</a></nav>
<article><h1>Tarns of the Larkfell</h1><p>The deepest tarn of the Larkfell measures 61 metres, which the surveyors found
in the summer of 1927 with a rope and a stone.</p><p>Nobody has measured it since, although many have tried to.</p>
</article><script>alert(1)</script></body></html>"""


LOCAL = ("127.0.0.1",)


@pytest.fixture
def reader() -> BaseTool:
    return read_page_tool(LOCAL)


def _url(port: int, path: str = "/") -> str:
    return f"http://127.0.0.1:{port}{path}"


def test_main_text_of_a_page_is_read(reader: BaseTool) -> None:
    with serving(lambda request: Reply(PAGE.encode(), headers=HTML)) as port:
        text = reader.invoke({"url": _url(port)})
    assert "The deepest tarn of the Larkfell measures 61 metres" in text
    assert "alert" not in text


async def test_pages_are_read_inside_a_running_loop_both_ways(reader: BaseTool) -> None:
    with serving(lambda request: Reply(b"plain words", headers={"Content-Type": "text/plain"})) as port:
        assert await reader.ainvoke({"url": _url(port)}) == "plain words"
        assert reader.invoke({"url": _url(port)}) == "plain words"


def test_tool_says_that_it_reaches_out() -> None:
    assert read_page.metadata == {"effect": "egress"}
    assert list(read_page.args) == ["url"]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "0x7f000001", "2130706433", "127.1", "017700000001", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]",
     "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "169.254.169.254",
     "[::ffff:169.254.169.254]", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "224.0.0.1", "255.255.255.255",
     "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "localhost", "127.0.0.1.", "①②⑦.⓪.⓪.①",
     "0x7f.0.0.1", "0177.0.0.1", "127.0x0.1", "127.65535", "00000127.0.0.1", "0x7F000001", "127。0。0。1", "LOCALHOST.",
     "\uff11\uff12\uff17.\uff10.\uff10.\uff11", "127\uff0e0\uff0e0\uff0e1", "[::1%25lo]", "[fe80::1%25eth0]",
     "[::1%lo]", "[0:0:0:0:0:0:0:1]", "[::ffff:0:127.0.0.1]", "[fec0::1]", "[ff02::1]", "[64:ff9b::a9fe:a9fe]",
     "[3fff::1]", "[64:ff9b:1::7f00:1]", "[2001:0:7f00:1::]",
     "[2001:db8::1]", "192.0.0.192", "192.88.99.1", "198.18.0.1", "203.0.113.7", "168.63.129.16", "240.0.0.1"],
)  # fmt: skip
def test_private_addresses_are_refused_in_every_notation(host: str) -> None:
    with (
        serving(lambda request: Reply(b"canary", headers=HTML)) as port,
        pytest.raises(ToolException, match=r"not on the public internet|not a web address|could not be reached"),
    ):
        read_page.invoke({"url": f"http://{host}:{port}/"})
    drawn("addresses that are not public tried in every notation, all refused")


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://example.com/x", "gopher://example.com", "data:text/html,x", "example.com", "", "http://",
     "https:///x", "http://ann:secret@example.com/", "http://[", "http://exa mple.com\x00/", "javascript:1",
     "http:127.0.0.1/", "http:/127.0.0.1/", "http://example.com\\@127.0.0.1/", "http:\\\\127.0.0.1/", "ht\ttp://127.0.0.1/",
     "http://127.0.0\t.1/", "http://127.0.0\n.1/", " http://127.0.0.1/", "\x00http://127.0.0.1/", "//127.0.0.1/",
     "http://example.com@127.0.0.1/", "http://@127.0.0.1/", "http://:@127.0.0.1/", "http://127.0.0.1:99999/",
     "http://127.0.0.1\u202e/", "http://127.0.0.1\u2100/", "http://1.1.1.1 &@127.0.0.1# @3.3.3.3/", "HTTP://a:b@c/",
     "http://127.0.0.1:80:80/", "http://[::1]@127.0.0.1/", "http://[127.0.0.1]/", "http://%31%32%37.0.0.1/", "jar:http://x!/"],
)  # fmt: skip
def test_what_is_not_a_web_address_is_refused(url: str) -> None:
    with pytest.raises(ToolException, match=r"not a web address|could not be reached|not on the public") as refusal:
        read_page.invoke({"url": url})
    assert "secret" not in str(refusal.value)
    drawn("spoiled and foreign URLs tried, all refused")


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest/meta-data", "http://[::1]/", "http://0x7f000002/"])
def test_a_redirect_to_a_private_address_is_refused(reader: BaseTool, target: str) -> None:
    with (
        serving(lambda request: Reply(status=302, headers={"Location": target})) as port,
        pytest.raises(ToolException, match="not on the public internet"),
    ):
        reader.invoke({"url": _url(port)})


def test_a_redirect_to_a_file_is_refused(reader: BaseTool) -> None:
    with (
        serving(lambda request: Reply(status=302, headers={"Location": "file:///etc/passwd"})) as port,
        pytest.raises(ToolException, match="not a web address"),
    ):
        reader.invoke({"url": _url(port)})


def test_what_a_redirect_brings_along_is_not_read(reader: BaseTool) -> None:
    bomb = gzip.compress(b"\0" * 200_000_000)

    def answer(request: Request) -> Reply:
        if request.path == "/":
            return Reply(bomb, 302, {"Location": "/new", "Content-Encoding": "gzip"})
        return Reply(b"moved here", headers={"Content-Type": "text/plain"})

    with serving(answer) as port:
        tracemalloc.start()
        assert reader.invoke({"url": _url(port)}) == "moved here"
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize(
    "location",
    [
        "http://[",
        "http://\udce9/",
        "//127.0.0.2/",
        "http://a b/",
        "data:text/plain,x",
        "///",
        "http://127.0.0.1:0/",
        "\\\\x",
    ],
)
def test_a_redirect_to_a_spoiled_or_private_address_is_a_sentence(reader: BaseTool, location: str) -> None:
    headers = {"Location": location.encode("utf-8", "surrogateescape").decode("latin-1")}
    with serving(lambda request: Reply(b"", 302, headers)) as port, pytest.raises(ToolException, match=r"^[A-Z].+\.$"):
        reader.invoke({"url": _url(port)})
    drawn("redirects to spoiled and private addresses tried, all refused")


def test_redirects_are_followed_and_bounded(reader: BaseTool) -> None:
    def answer(request: Request) -> Reply:
        if request.path == "/old":
            return Reply(status=301, headers={"Location": "/new"})
        if request.path == "/new":
            return Reply(b"moved here", headers={"Content-Type": "text/plain"})
        return Reply(status=302, headers={"Location": request.path + "x"})

    with serving(answer) as port:
        assert reader.invoke({"url": _url(port, "/old")}) == "moved here"
        with pytest.raises(ToolException, match="redirects more than 5 times"):
            reader.invoke({"url": _url(port, "/loop")})


def test_a_name_that_changes_its_address_is_resolved_once() -> None:
    """DNS rebinding: the address that was checked is the one connected to."""
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    hosts: list[str] = []

    def answer(request: Request) -> Reply:
        hosts.append(request.headers["host"])
        return Reply(b"seen", headers={"Content-Type": "text/plain"})

    reader = read_page_tool(LOCAL, resolve=resolve)
    with serving(answer) as port:
        assert reader.invoke({"url": f"http://rebind.example:{port}/"}) == "seen"
        assert (asked, hosts) == (["rebind.example"], [f"rebind.example:{port}"])
        with pytest.raises(ToolException, match="not on the public internet"):
            reader.invoke({"url": f"http://rebind.example:{port}/"})


@pytest.mark.parametrize("found", [["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"], []])
def test_a_name_with_one_private_address_is_refused(found: list[str]) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return found

    with (
        serving(lambda request: Reply(b"canary", headers=HTML)) as port,
        pytest.raises(ToolException, match="not on the public internet"),
    ):
        read_page_tool(LOCAL, resolve=resolve).invoke({"url": f"http://mixed.example:{port}/"})


def test_a_gzip_bomb_is_capped() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    reader = read_page_tool(LOCAL, max_page=100_000)
    with serving(lambda request: Reply(bomb, headers={**HTML, "Content-Encoding": "gzip"})) as port:
        tracemalloc.start()
        with pytest.raises(ToolException, match="larger than 100000 bytes"):
            reader.invoke({"url": _url(port)})
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 20_000_000


def test_a_page_without_end_is_capped() -> None:
    def answer(request: Request) -> Iterator[bytes]:
        yield b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n"
        yield from itertools.repeat(b"more " * 1_000, 10_000)

    with serving(answer) as port, pytest.raises(ToolException, match="larger than 100000 bytes"):
        read_page_tool(LOCAL, max_page=100_000).invoke({"url": _url(port)})


@pytest.mark.parametrize("head", [b"", b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n"])
def test_a_page_that_trickles_times_out(head: bytes) -> None:
    def answer(request: Request) -> Iterator[bytes]:
        yield head
        for _ in range(100):
            yield b"X"
            time.sleep(0.05)

    with serving(answer) as port, pytest.raises(ToolException, match=r"took longer than 0\.3 seconds"):
        read_page_tool(LOCAL, seconds=0.3).invoke({"url": _url(port)})


def test_gzip_is_decompressed_and_other_compression_is_refused(reader: BaseTool) -> None:
    plain = {"Content-Type": "text/plain"}
    replies = {
        "/gzip": Reply(gzip.compress(b"packed words"), headers={**plain, "Content-Encoding": "gzip"}),
        "/br": Reply(b"...", headers={**plain, "Content-Encoding": "br"}),
        "/broken": Reply(b"not packed", headers={**plain, "Content-Encoding": "gzip"}),
    }
    with serving(lambda request: replies[request.path]) as port:
        assert reader.invoke({"url": _url(port, "/gzip")}) == "packed words"
        with pytest.raises(ToolException, match="compressed as 'br'"):
            reader.invoke({"url": _url(port, "/br")})
        with pytest.raises(ToolException, match="could not be reached"):
            reader.invoke({"url": _url(port, "/broken")})


def test_what_is_not_text_is_refused(reader: BaseTool) -> None:
    replies = {
        "/pdf": Reply(b"%PDF", headers={"Content-Type": "application/pdf"}),
        "/gone": Reply(b"gone", status=404, headers=HTML),
        "/empty": Reply(b"<html><body></body></html>", headers=HTML),
    }
    with serving(lambda request: replies[request.path]) as port:
        for path, message in (
            ("/pdf", "'application/pdf', not text"),
            ("/gone", "status 404"),
            ("/empty", "no readable"),
        ):
            with pytest.raises(ToolException, match=message):
                reader.invoke({"url": _url(port, path)})


def test_long_text_is_truncated_and_control_characters_are_removed(reader: BaseTool) -> None:
    replies = {
        "/long": Reply(b"word " * 20_000, headers={"Content-Type": "text/plain"}),
        "/odd": Reply(b"a\x00b\x1b[31m caf\xe9\n", headers={"Content-Type": "text/plain; charset=nonsense"}),
    }
    with serving(lambda request: replies[request.path]) as port:
        text = reader.invoke({"url": _url(port, "/long")})
        assert len(text) < MAX_TEXT + 100
        assert text.endswith("... (truncated: 99999 characters in all)")
        assert reader.invoke({"url": _url(port, "/odd")}) == "ab[31m caf\N{REPLACEMENT CHARACTER}"


def test_a_page_is_bounded_also_before_decompression(reader: BaseTool) -> None:
    """Empty blocks expand to nothing, and so never reach the limit of the page."""
    empty = zlib.compressobj(wbits=31)
    block = empty.compress(b"x") + empty.flush(zlib.Z_FULL_FLUSH)

    def answer(request: Request) -> Iterator[bytes]:
        yield b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n\r\n" + block
        yield from itertools.repeat(b"\0\0\0\xff\xff" * 1_000, 100_000)

    with serving(answer) as port, pytest.raises(ToolException, match="larger than 100000 bytes"):
        read_page_tool(LOCAL, max_page=100_000).invoke({"url": _url(port)})


@pytest.mark.parametrize(
    "encoding", ["br", "zstd", "compress", "gzip, gzip", "gzip,br", "gzip\tx", "deflate, gzip", "aws-chunked"]
)
def test_only_one_layer_of_known_compression_is_taken_off(reader: BaseTool, encoding: str) -> None:
    body = gzip.compress(gzip.compress(b"\0" * 50_000_000))
    headers = {"Content-Type": "text/plain", "Content-Encoding": encoding}
    with (
        serving(lambda request: Reply(body, headers=headers)) as port,
        pytest.raises(ToolException, match="compressed as"),
    ):
        reader.invoke({"url": _url(port)})


def test_a_resolver_that_hangs_does_not_hold_the_tool_up() -> None:
    release = threading.Event()

    async def resolve(host: str, port: int) -> list[str]:
        await anyio.to_thread.run_sync(release.wait, abandon_on_cancel=True)
        return []

    try:
        with pytest.raises(ToolException, match=r"took longer than 0\.2 seconds"):
            read_page_tool(LOCAL, resolve=resolve, seconds=0.2).invoke({"url": "http://slow.example/"})
    finally:
        release.set()


def test_an_address_that_is_too_long_is_refused_and_not_cut(reader: BaseTool) -> None:
    with pytest.raises(ToolException, match="longer than 2000 characters"):
        reader.invoke({"url": "http://127.0.0.1/" + "a" * 2_000})


def test_operator_allows_private_hosts_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    with serving(lambda request: Reply(b"inside", headers={"Content-Type": "text/plain"})) as port:
        monkeypatch.setenv("PLAN_EXECUTE_WEB_ALLOW", "10.0.0.0/8, intranet.example")
        reader = read_page_tool(resolve=resolve)
        monkeypatch.setenv("PLAN_EXECUTE_WEB_ALLOW", "other.example")
        assert reader.invoke({"url": f"http://intranet.example:{port}/"}) == "inside"
        for host in ("other.example", "www.intranet.example", "10.0.0.1.example"):
            with pytest.raises(ToolException, match="not on the public internet"):
                reader.invoke({"url": f"http://{host}:{port}/"})


@settings(max_examples=300)
@given(st.text(max_size=30) | st.text("0123456789abcdefx.:[]@/\\%#?& \t\n\u3002\uff0e\uff11\u2460", max_size=30))
def test_no_url_reaches_this_machine(rest: str) -> None:
    """Whatever the URL, it is refused or its host is resolved; here each resolves to an address of this machine."""
    asked = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    with pytest.raises(ToolException, match=r"^[A-Z].+\.$"):
        read_page_tool([], resolve=resolve).invoke({"url": f"http://{rest}"})
    drawn("URLs drawn at random, none reached this machine")


async def test_a_cancelled_read_ends(reader: BaseTool) -> None:
    async def never(host: str, port: int) -> list[str]:
        await anyio.sleep(60)
        return []

    with anyio.move_on_after(0.05) as scope:
        await read_page_tool(LOCAL, resolve=never).ainvoke({"url": "http://slow.example/"})
    assert scope.cancelled_caught
