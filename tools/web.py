"""A reader of web pages that reaches public addresses only."""

import ipaddress
import socket
import zlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from langchain_core.tools import BaseTool, StructuredTool, ToolException

if TYPE_CHECKING:
    import httpx

MAX_PAGE = 3_000_000
"""Most bytes of a page, unpacked."""
MAX_TEXT = 20_000
"""Longest text given back, in characters."""
MAX_REDIRECTS = 5
"""How often a page may send the reader on."""
SECONDS = 20.0
"""How long reading a page may take, from the first look-up to the text."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Awaitable[list[str]]]


def page_reader(
    allowed: Callable[[Address], bool] | None = None,
    resolve: Resolver | None = None,
    *,
    seconds: float = SECONDS,
    max_page: int = MAX_PAGE,
) -> BaseTool:
    """Make the tool read_page.

    Args:
        allowed: Which addresses may be connected to; public ones by default.
        resolve: Finds the addresses of a host name; the system's resolver by default.
        seconds: How long reading a page may take.
        max_page: Most bytes of a page, unpacked.
    """

    async def aread_page(url: str) -> str:
        import anyio

        try:
            with anyio.fail_after(seconds):
                page = await _fetch(url, allowed or is_public, resolve or _addresses, max_page)
                return await anyio.to_thread.run_sync(_text, *page, abandon_on_cancel=True)
        except TimeoutError:
            raise ToolException(f"The page took longer than {seconds:g} seconds. Try another source.") from None

    def read_page(url: str) -> str:
        """Read a web page and get its main text. The address must start with http:// or https://."""
        from anyio.from_thread import start_blocking_portal

        with start_blocking_portal() as portal:  # works with and without a running event loop around it
            return portal.call(aread_page, url)

    reader = StructuredTool.from_function(read_page, aread_page)
    reader.metadata = {"effect": "egress"}
    return reader


def is_public(address: Address) -> bool:
    """Tell whether an address belongs to the public internet, also when IPv6 wraps an IPv4 address."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return is_public(address.ipv4_mapped)
        if any(address in network for network in _WRAPPING):
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


_WRAPPING = [
    ipaddress.IPv6Network(network) for network in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
]
"""IPv6 networks whose addresses lead on to an IPv4 address: compatible, NAT64, 6to4, Teredo."""

_READABLE = ("text/", "application/xhtml+xml", "application/xml", "application/json")
_UNREACHABLE = "The page could not be reached. Check the address, or try another source."


async def _fetch(
    url: str, allowed: Callable[[Address], bool], resolve: Resolver, max_page: int
) -> tuple[bytes, str, str | None]:
    """Get the content of a page, its media type and the encoding that the server names."""
    try:
        import httpx
    except ImportError:
        raise ToolException(_NOT_INSTALLED) from None
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
                raise ToolException(f"The server answered with status {response.status_code}. Try another source.")
            if not media.startswith(_READABLE):
                raise ToolException(f"The page is {media[:60]!r}, not text. Try another source.")
            return await _content(response, max_page), media, response.charset_encoding
    except httpx.TooManyRedirects:
        raise ToolException(f"The page redirects more than {MAX_REDIRECTS} times. Try another source.") from None
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError):
        raise ToolException(_NO_WEB_ADDRESS) from None
    except (httpx.HTTPError, OSError, UnicodeError, zlib.error):
        raise ToolException(_UNREACHABLE) from None


def _guarded_transport(allowed: Callable[[Address], bool], resolve: Resolver) -> "httpx.AsyncBaseTransport":
    """Make a transport that looks a name up once, checks what it finds, and connects to exactly that address.

    It sees every request, so also each one that follows a redirect. A name that changes its address between check and
    use has no effect, as there is no second look-up; the certificate is still checked against the name.
    """
    import httpx

    class GuardedTransport(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            url = request.url
            if url.scheme not in ("http", "https") or not url.host or url.userinfo:
                raise ToolException(_NO_WEB_ADDRESS)
            found = await resolve(url.host, url.port or 443)
            if not found or not all(allowed(ipaddress.ip_address(address)) for address in found):
                raise ToolException("This address is not on the public web and will not be read. Try another source.")
            pinned = httpx.Request(
                request.method,
                url.copy_with(host=found[0]),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": url.host},
            )
            return await super().handle_async_request(pinned)

    return GuardedTransport(trust_env=False)


async def _addresses(host: str, port: int) -> list[str]:
    import anyio

    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


async def _content(response: "httpx.Response", max_page: int) -> bytes:
    """Read and unpack a response up to a bound, which a small file of packed zeros cannot cross."""
    packing = response.headers.get("content-encoding", "identity").strip().lower()
    if packing not in ("identity", "gzip", "x-gzip", "deflate"):
        raise ToolException(f"The page is packed as {packing[:40]!r}, which cannot be read. Try another source.")
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    content = bytearray()
    async for chunk in response.aiter_raw():
        room = max_page - len(content) + 1
        content += chunk[:room] if packing == "identity" else unpacker.decompress(chunk, room)
        if len(content) > max_page:
            raise ToolException(f"The page is larger than {max_page} bytes. Try another source.")
    return bytes(content)


def _text(content: bytes, media: str, encoding: str | None) -> str:
    """Take the main text out of a page."""
    if media in ("text/html", "application/xhtml+xml"):
        try:
            import trafilatura
        except ImportError:
            raise ToolException(_NOT_INSTALLED) from None
        text = trafilatura.extract(content, output_format="markdown", favor_recall=True, include_comments=False) or ""
    else:
        text = _decoded(content, encoding or "utf-8")
    text = "".join(sign for sign in text if sign.isprintable() or sign in "\n\t").strip()
    if not text:
        raise ToolException("The page holds no readable text. Try another source.")
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}\n(Cut here: the page has {len(text)} characters.)"


def _decoded(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding, "replace")
    except (LookupError, UnicodeError):  # the server names an encoding that does not exist
        return content.decode("utf-8", "replace")


_NO_WEB_ADDRESS = "This is no web address to read. Write it as https://example.com/page, without user or password."
_NOT_INSTALLED = (
    "Web pages cannot be read here: pip install 'langgraph-plan-execute[web]' adds what is needed. "
    "Do not try again; report what is missing."
)

read_page = page_reader()
