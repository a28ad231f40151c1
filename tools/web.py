"""Reading of web pages, at public addresses only."""

import ipaddress
import socket
import zlib
from collections.abc import Awaitable, Callable

import anyio
import anyio.from_thread
import httpx
from langchain_core.tools import BaseTool, StructuredTool, ToolException

from plan_execute.tools.messages import INSTALL_WEB, truncate

MAX_PAGE = 3_000_000
"""Largest page, in bytes after decompression."""
MAX_TEXT = 20_000
"""Longest text returned, in characters; longer ones are truncated."""
MAX_REDIRECTS = 5
"""Most redirects followed."""
SECONDS = 20.0
"""Longest time that reading a page may take, in seconds, from the DNS lookup to the text."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Awaitable[list[str]]]


def page_reader(
    allowed: Callable[[Address], bool] | None = None,
    resolve: Resolver | None = None,
    *,
    seconds: float = SECONDS,
    max_page: int = MAX_PAGE,
) -> BaseTool:
    """Create the tool read_page.

    Args:
        allowed: Whether an address may be connected to; by default the public ones.
        resolve: Resolves a host name and port to addresses; by default with the system's resolver.
        seconds: Longest time that reading a page may take.
        max_page: Largest page, in bytes after decompression.

    Returns:
        A tool, sync and async, that raises `ToolException` when a page is refused or cannot be read.
    """

    async def aread_page(url: str) -> str:
        try:
            with anyio.fail_after(seconds):
                page = await _fetch(url, allowed or is_public, resolve or _resolve, max_page)
                return await anyio.to_thread.run_sync(_extract_text, *page, abandon_on_cancel=True)
        except TimeoutError:
            raise ToolException(f"The page took longer than {seconds:g} seconds. Try another source.") from None

    def read_page(url: str) -> str:
        """Read a web page and get its main text. The URL must start with http:// or https://."""
        with anyio.from_thread.start_blocking_portal() as portal:  # works whether or not an event loop is running
            return portal.call(aread_page, url)

    reader = StructuredTool.from_function(read_page, aread_page)
    reader.metadata = {"effect": "egress"}
    return reader


def is_public(address: Address) -> bool:
    """Whether an address is on the public internet, looking through IPv6 addresses that embed an IPv4 address."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return is_public(address.ipv4_mapped)
        if any(address in network for network in _EMBEDDING_IPV4):
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


_EMBEDDING_IPV4 = [
    ipaddress.IPv6Network(network) for network in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
]
"""IPv6 networks whose addresses embed an IPv4 address: IPv4-compatible, NAT64, 6to4, Teredo."""

_READABLE = ("text/", "application/xhtml+xml", "application/xml", "application/json")
_NOT_A_URL = "This is not a web address: write it as https://example.com/page, without user or password."
_UNREACHABLE = "The page could not be reached. Check the address, or try another source."


async def _fetch(
    url: str, allowed: Callable[[Address], bool], resolve: Resolver, max_page: int
) -> tuple[bytes, str, str | None]:
    """Download a page; return its content, its media type and the encoding that the server declares."""
    headers = {"User-Agent": "langgraph-plan-execute", "Accept-Encoding": "gzip, identity"}
    try:
        async with (
            httpx.AsyncClient(
                transport=_guarded_transport(allowed, resolve),
                headers=headers,
                follow_redirects=True,
                max_redirects=MAX_REDIRECTS,
                trust_env=False,
            ) as client,
            client.stream("GET", url[:2_000]) as response,
        ):
            media = response.headers.get("content-type", "text/html").partition(";")[0].strip().lower()
            if response.status_code >= 400:
                raise ToolException(f"The server responded with status {response.status_code}. Try another source.")
            if not media.startswith(_READABLE):
                raise ToolException(f"The content type is {media[:60]!r}, not text. Try another source.")
            return await _read_body(response, max_page), media, response.charset_encoding
    except httpx.TooManyRedirects:
        raise ToolException(f"The page redirects more than {MAX_REDIRECTS} times. Try another source.") from None
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError):
        raise ToolException(_NOT_A_URL) from None
    except (httpx.HTTPError, OSError, UnicodeError, zlib.error):
        raise ToolException(_UNREACHABLE) from None


def _guarded_transport(allowed: Callable[[Address], bool], resolve: Resolver) -> httpx.AsyncBaseTransport:
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
            if not found or not all(allowed(ipaddress.ip_address(address)) for address in found):
                raise ToolException(
                    "This address is not on the public internet, so it is not read. Try another source."
                )
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
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


async def _read_body(response: httpx.Response, max_page: int) -> bytes:
    """Read and decompress a response, and stop at the size limit even where a small body expands to a huge one."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", "deflate"):
        raise ToolException(f"The page is compressed as {encoding[:40]!r}, which is not supported. Try another source.")
    decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    content = bytearray()
    async for chunk in response.aiter_raw():
        room = max_page - len(content) + 1
        content += chunk[:room] if encoding == "identity" else decompressor.decompress(chunk, room)
        if len(content) > max_page:
            raise ToolException(f"The page is larger than {max_page} bytes. Try another source.")
    return bytes(content)


def _extract_text(content: bytes, media: str, encoding: str | None) -> str:
    """Extract the main text of a page, without navigation and markup."""
    if media in ("text/html", "application/xhtml+xml"):
        try:
            import trafilatura
        except ImportError:
            raise ToolException(
                f"Reading web pages needs more packages: {INSTALL_WEB}. Do not try again; report what is missing."
            ) from None
        text = trafilatura.extract(content, output_format="markdown", favor_recall=True, include_comments=False) or ""
    else:
        text = _decode(content, encoding or "utf-8")
    text = "".join(character for character in text if character.isprintable() or character in "\n\t").strip()
    if not text:
        raise ToolException("The page contains no readable text. Try another source.")
    return truncate(text, MAX_TEXT)


def _decode(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding, "replace")
    except (LookupError, UnicodeError):  # the server declares an encoding that does not exist
        return content.decode("utf-8", "replace")


read_page = page_reader()
