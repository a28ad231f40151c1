"""What is read from a page, and which addresses are never reached."""

import gzip
import ipaddress
import itertools
import time
import tracemalloc
from collections.abc import Iterator

import pytest
from langchain_core.tools import BaseTool, ToolException

from plan_execute.tools.web import MAX_TEXT, Address, is_public, page_reader, read_page
from tests.tools.serving import Reply, Request, serving

pytest.importorskip("trafilatura")

HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGE = """<html><head><title>Tarns</title></head><body><nav><a href="/">Home</a></nav>
<article><h1>Tarns of the Larkfell</h1><p>The deepest tarn of the Larkfell measures 61 metres, which the surveyors found
in the summer of 1927 with a rope and a stone.</p><p>Nobody has measured it since, although many have tried to.</p>
</article><script>alert(1)</script></body></html>"""


def local_only(address: Address) -> bool:
    return str(address) == "127.0.0.1"


@pytest.fixture
def reader() -> BaseTool:
    return page_reader(local_only)


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
     "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "localhost", "127.0.0.1.", "①②⑦.⓪.⓪.①"],
)  # fmt: skip
def test_private_addresses_are_refused_in_every_notation(host: str) -> None:
    with (
        serving(lambda request: Reply(b"canary", headers=HTML)) as port,
        pytest.raises(ToolException, match=r"not on the public internet|not a web address|could not be reached"),
    ):
        read_page.invoke({"url": f"http://{host}:{port}/"})


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://example.com/x", "gopher://example.com", "data:text/html,x", "example.com", "", "http://",
     "https:///x", "http://ann:secret@example.com/", "http://[", "http://exa mple.com\x00/", "javascript:1"],
)  # fmt: skip
def test_what_is_not_a_web_address_is_refused(url: str) -> None:
    with pytest.raises(ToolException, match=r"not a web address|could not be reached") as refusal:
        read_page.invoke({"url": url})
    assert "secret" not in str(refusal.value)


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

    reader = page_reader(local_only, resolve)
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
        page_reader(local_only, resolve).invoke({"url": f"http://mixed.example:{port}/"})


def test_a_gzip_bomb_is_capped() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    reader = page_reader(local_only, max_page=100_000)
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
        page_reader(local_only, max_page=100_000).invoke({"url": _url(port)})


@pytest.mark.parametrize("head", [b"", b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n"])
def test_a_page_that_trickles_times_out(head: bytes) -> None:
    def answer(request: Request) -> Iterator[bytes]:
        yield head
        for _ in range(100):
            yield b"X"
            time.sleep(0.05)

    with serving(answer) as port, pytest.raises(ToolException, match=r"took longer than 0\.3 seconds"):
        page_reader(local_only, seconds=0.3).invoke({"url": _url(port)})


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


def test_public_addresses_are_told_from_others() -> None:
    assert is_public(ipaddress.ip_address("93.184.216.34"))
    assert is_public(ipaddress.ip_address("2606:2800:220:1::1"))
    assert is_public(ipaddress.ip_address("::ffff:93.184.216.34"))
    assert not is_public(ipaddress.ip_address("192.0.0.1"))


async def test_a_cancelled_read_ends(reader: BaseTool) -> None:
    import anyio

    async def never(host: str, port: int) -> list[str]:
        await anyio.sleep(60)
        return []

    with anyio.move_on_after(0.05) as scope:
        await page_reader(local_only, never).ainvoke({"url": "http://slow.example/"})
    assert scope.cancelled_caught
