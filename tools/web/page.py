"""Reading of web pages, at public addresses only."""

import json
import os
import socket
import subprocess
import sys
import zlib
from collections.abc import Awaitable, Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.to_thread
import httpx
from langchain_core.tools import BaseTool, StructuredTool, ToolException

from plan_execute.tools.characters import drop_invisible
from plan_execute.tools.messages import INSTALL_WEB, truncate
from plan_execute.tools.web.addresses import AllowList

MAX_URL = 2_000
"""Longest URL, in characters."""
MAX_PAGE = 3_000_000
"""Largest page, in bytes after decompression, and before."""
MAX_TEXT = 20_000
"""Longest text returned, in characters; longer ones are truncated."""
MAX_REDIRECTS = 5
"""Most redirects followed."""
SECONDS = 20.0
"""Longest time that reading a page may take, in seconds, from the DNS lookup to the text."""
PARSE_SECONDS = 8.0
"""Longest time that its text is looked for, in seconds."""

Resolver = Callable[[str, int], Awaitable[list[str]]]


def read_page_tool(
    allow: Iterable[str] | None = None,
    *,
    resolve: Resolver | None = None,
    seconds: float = SECONDS,
    parse_seconds: float = PARSE_SECONDS,
    max_page: int = MAX_PAGE,
) -> BaseTool:
    """Create the tool read_page.

    Args:
        allow: Names of hosts, addresses and networks that are read although they are not public, such as
            `["10.0.0.0/8", "intranet.example"]`; by default those in the environment variable
            `PLAN_EXECUTE_WEB_ALLOW`, separated by commas. No call and no model can add to them.
        resolve: Resolves a host name and port to addresses; by default with the system's resolver.
        seconds: Longest time that reading a page may take.
        parse_seconds: Longest time that the page's text is looked for; then all of its text is returned instead of
            its main text.
        max_page: Largest page, in bytes after decompression.

    Returns:
        A tool, sync and async, that raises `ToolException` when a page is refused or cannot be read.

    Raises:
        ValueError: `allow` has an entry that is neither a name nor an address nor a network.
    """
    allowed = AllowList(os.environ.get("PLAN_EXECUTE_WEB_ALLOW", "").split(",") if allow is None else allow)

    async def aread_page(url: str) -> str:
        try:
            with anyio.fail_after(seconds):
                page = await _fetch(url, allowed, resolve or _resolve, max_page)
                return await anyio.to_thread.run_sync(_text_of, *page, parse_seconds, abandon_on_cancel=True)
        except TimeoutError:
            raise ToolException(f"The page took longer than {seconds:g} seconds. Try another source.") from None

    def read_page(url: str) -> str:
        """Read a web page and get its main text. The URL must start with http:// or https://."""
        with anyio.from_thread.start_blocking_portal() as portal:  # works whether or not an event loop is running
            return portal.call(aread_page, url)

    reader = StructuredTool.from_function(read_page, aread_page)
    reader.metadata = {"effect": "egress"}
    return reader


_READABLE = ("text/", "application/xhtml+xml", "application/xml", "application/json")
_NOT_A_URL = "This is not a web address: write it as https://example.com/page, without user or password."
_UNREACHABLE = "The page could not be reached. Check the address, or try another source."
_NOT_PUBLIC = "This address is not on the public internet, so it is not read. Try another source."
_NO_TEXT = "The page contains no readable text. Try another source."


async def _fetch(url: str, allowed: AllowList, resolve: Resolver, max_page: int) -> tuple[bytes, str, str | None]:
    """Download a page; return its content, its media type and the encoding that the server declares.

    Redirects are followed here, because httpx reads the whole body of each, however large it is.
    """
    if len(url) > MAX_URL:
        raise ToolException(f"The address is longer than {MAX_URL} characters. Try another source.")
    headers = {"User-Agent": "langgraph-plan-execute", "Accept-Encoding": "gzip, identity"}
    try:
        async with httpx.AsyncClient(
            transport=_guarded_transport(allowed, resolve), headers=headers, trust_env=False
        ) as client:
            request: httpx.Request | None = client.build_request("GET", url)
            for _ in range(MAX_REDIRECTS + 1):
                response = await client.send(request, stream=True)  # type: ignore[arg-type]  # None ends the loop
                try:
                    request = response.next_request
                    if request is None:
                        return await _read(response, max_page)
                finally:
                    await response.aclose()
            raise ToolException(f"The page redirects more than {MAX_REDIRECTS} times. Try another source.")
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError):
        raise ToolException(_NOT_A_URL) from None
    except (httpx.HTTPError, OSError, UnicodeError, zlib.error):
        raise ToolException(_UNREACHABLE) from None


def _guarded_transport(allowed: AllowList, resolve: Resolver) -> httpx.AsyncBaseTransport:
    """Create a transport that resolves a host name once, checks the addresses, and connects to the first of them.

    It handles every request, including those that follow a redirect. As there is no second DNS lookup, a name that
    changes its address after the check (DNS rebinding) gains nothing. The certificate is still checked for the name.
    """

    class GuardedTransport(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            url = request.url
            if url.scheme not in ("http", "https") or not url.host or url.userinfo:
                raise ToolException(_NOT_A_URL)
            found = await resolve(url.host, url.port or 443)
            if not allowed.accepts(url.host, found):
                raise ToolException(_NOT_PUBLIC)
            pinned = httpx.Request(
                request.method,
                url.copy_with(host=found[0]),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": url.host},
            )
            return await super().handle_async_request(pinned)

    return GuardedTransport(trust_env=False)


async def _resolve(host: str, port: int) -> list[str]:
    """Resolve a name; a resolver that hangs is abandoned with its thread."""

    def look_up() -> list[str]:
        return [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

    return await anyio.to_thread.run_sync(look_up, abandon_on_cancel=True)


async def _read(response: httpx.Response, max_page: int) -> tuple[bytes, str, str | None]:
    """Read a response to the end; return its content, its media type and its encoding."""
    media = response.headers.get("content-type", "text/html").partition(";")[0].strip().lower()
    if response.status_code >= 400:
        raise ToolException(f"The server responded with status {response.status_code}. Try another source.")
    if not media.startswith(_READABLE):
        raise ToolException(f"The content type is {media[:60]!r}, not text. Try another source.")
    return await _read_body(response, max_page), media, response.charset_encoding


async def _read_body(response: httpx.Response, max_page: int) -> bytes:
    """Read and decompress a response, and stop at the size limit even where a small body expands to a huge one."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", "deflate"):
        raise ToolException(f"The page is compressed as {encoding[:40]!r}, which is not supported. Try another source.")
    decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    content, received = bytearray(), 0
    async for chunk in response.aiter_raw():
        room = max_page - len(content) + 1
        received += len(chunk)
        content += chunk[:room] if encoding == "identity" else decompressor.decompress(chunk, room)
        if max(len(content), received) > max_page:
            raise ToolException(f"The page is larger than {max_page} bytes. Try another source.")
    return bytes(content)


def _text_of(content: bytes, media: str, encoding: str | None, seconds: float) -> str:
    """Return the text of a page, without navigation and markup, and without what a reader would not see."""
    html = media in ("text/html", "application/xhtml+xml")
    text = drop_invisible(_extract(content, seconds) if html else _decode(content, encoding or "utf-8")).strip()
    if not text:
        raise ToolException(_NO_TEXT)
    return truncate(text, MAX_TEXT)


def _extract(content: bytes, seconds: float) -> str:
    """Extract the main text of a page in a process of its own, or all of its text if that takes too long."""
    if not find_spec("trafilatura"):
        raise ToolException(
            f"Reading web pages needs more packages: {INSTALL_WEB}. Do not try again; report what is missing."
        )
    places = os.pathsep.join(filter(None, sys.path))
    kept = {name: os.environ[name] for name in {"SYSTEMROOT"} & os.environ.keys()}  # and no secrets
    command = [sys.executable, "-s", "-P", str(Path(__file__).with_name("extraction.py"))]
    try:
        ended = subprocess.run(
            command,
            input=content,
            capture_output=True,
            timeout=seconds,
            env={**kept, "PYTHONPATH": places},
            check=False,
        )
        output, failed = ended.stdout, ended.returncode != 0
    except subprocess.TimeoutExpired as late:
        output, failed = late.stdout or b"", True
    except OSError:
        output, failed = b"", True
    texts = [json.loads(line) for line in output.splitlines(keepends=True) if line.endswith(b"\n")]
    if failed and not texts:
        raise ToolException("The text of the page could not be extracted. Try another source.")
    return next(filter(None, reversed(texts)), "")


def _decode(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding, "replace")
    except (LookupError, UnicodeError):  # the server declares an encoding that does not exist
        return content.decode("utf-8", "replace")


read_page = read_page_tool()
