"""Which addresses a page may be read from: the public internet, and what the operator allows."""

import ipaddress
from collections.abc import Iterable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AllowList:
    """Names of hosts and networks from which pages may be read although they are not public."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        """Read the entries.

        Args:
            entries: Names such as `intranet.example`, addresses, and networks such as `10.0.0.0/8`.

        Raises:
            ValueError: An entry is none of these; the message is one sentence.
        """
        self._names: set[str] = set()
        self._networks: list[Network] = []
        for entry in filter(None, map(str.strip, entries)):
            try:
                self._networks.append(ipaddress.ip_network(entry))
            except ValueError:
                if not entry.replace("-", "").replace(".", "").isalnum() or entry.replace(".", "").isdigit():
                    raise ValueError(
                        f"{entry!r} cannot be allowed: write the name of a host, such as 'intranet.example', an "
                        "address, or a network, such as '10.0.0.0/8'."
                    ) from None
                self._names.add(_fold(entry))

    def accepts(self, host: str, addresses: Sequence[str]) -> bool:
        """Whether a host may be connected to: each of its addresses is public or allowed, or its name is allowed."""
        if not addresses:
            return False
        if _fold(host) in self._names:
            return True
        return all(is_public(address) or self._covers(address) for address in map(ipaddress.ip_address, addresses))

    def _covers(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def is_public(address: Address) -> bool:
    """Whether an address is on the public internet.

    It does not ask `ipaddress.is_global`, whose answers differ between the versions of Python. An IPv6 address that
    leads to an IPv4 address is as public as that.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    if address.scope_id is not None:
        return False
    if embedded := _embedded(address):
        return all(map(is_public, embedded))
    return address in _UNICAST and not any(address in network for network in _REFUSED_V6)


def _embedded(address: ipaddress.IPv6Address) -> tuple[ipaddress.IPv4Address, ...]:
    """The IPv4 addresses that an IPv6 address leads to."""
    if address.ipv4_mapped:
        return (address.ipv4_mapped,)
    if address.teredo:
        return address.teredo
    if address.sixtofour:
        return (address.sixtofour,)
    return (ipaddress.IPv4Address(address.packed[-4:]),) if address in _NAT64 else ()


def _fold(host: str) -> str:
    return host.casefold().rstrip(".")


_REFUSED_V4 = [
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by the customers of a carrier
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # the host of a virtual machine on Azure
        "169.254.0.0/16",  # link-local, where clouds serve their metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
]
"""IPv4 networks that are not public: IANA's registry of special purposes, and one more."""
_UNICAST = ipaddress.IPv6Network("2000::/3")
"""The only IPv6 addresses that IANA gives out to the public. Beyond it are loopback, `fc00::/7`, `fe80::/10`,
`fec0::/10`, multicast, IPv4-compatible addresses and NAT64 of local use (`64:ff9b:1::/48`)."""
_REFUSED_V6 = [
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments; Teredo, which is one of them, is judged by what it embeds
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
]
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
