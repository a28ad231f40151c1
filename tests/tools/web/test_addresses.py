"""Which addresses are public, whatever version of Python judges them."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plan_execute.tools.web.addresses import AllowList, is_public
from tests.drawn import drawn

REFUSED_V4 = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
    "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
]  # fmt: skip
REFUSED_V6 = [
    "::/8", "64:ff9b:1::/48", "100::/64", "2001:2::/48", "2001:10::/28", "2001:20::/28", "2001:db8::/32", "3fff::/20",
    "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
]  # fmt: skip
PUBLIC = [
    "93.184.216.34", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "192.0.1.1", "9.255.0.1",
    "223.255.255.255", "2606:2800:220:1::1", "2a00::1", "2001:200::1", "3ffe::1",
]  # fmt: skip
inside_v4 = st.sampled_from(REFUSED_V4).flatmap(lambda network: st.ip_addresses(v=4, network=network))
outside_v4 = st.ip_addresses(v=4).filter(lambda a: not any(a in ipaddress.IPv4Network(n) for n in REFUSED_V4))


def embedding(address: ipaddress.IPv4Address) -> list[str]:
    """Every IPv6 address that leads to an IPv4 address and is as public as that."""
    return [
        f"::ffff:{address}",
        f"64:ff9b::{address}",
        str(ipaddress.IPv6Address((0x2002 << 112) + (int(address) << 80) + 1)),
        str(ipaddress.IPv6Address((0x20010000 << 96) + (int(address) << 64) + (~0x01010101 & 0xFFFFFFFF))),
        str(ipaddress.IPv6Address((0x20010000 << 96) + (0x01010101 << 64) + (~int(address) & 0xFFFFFFFF))),
    ]


@given(inside_v4)
def test_private_ipv4_addresses_are_refused_also_inside_ipv6(address: ipaddress.IPv4Address) -> None:
    for written in [str(address), *embedding(address), f"::{address}", f"::ffff:0:{address}"]:
        assert not is_public(ipaddress.ip_address(written)), written
    drawn("private IPv4 addresses tried, plain and inside IPv6, all refused", 8)


@given(outside_v4)
def test_public_ipv4_addresses_are_public_also_inside_ipv6(address: ipaddress.IPv4Address) -> None:
    for written in [str(address), *embedding(address)]:
        assert is_public(ipaddress.ip_address(written)), written


@given(st.sampled_from(REFUSED_V6).flatmap(lambda network: st.ip_addresses(v=6, network=network)))
def test_private_ipv6_addresses_are_refused(address: ipaddress.IPv6Address) -> None:
    mapped = address.ipv4_mapped
    assert not is_public(address) or (mapped and is_public(mapped))
    drawn("private IPv6 addresses tried, all refused")


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["2606:2800:220:1::1%eth0", "fe80::1%1"])
def test_an_address_of_one_interface_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


def test_an_allow_list_opens_what_it_names_and_nothing_beside_it() -> None:
    allowed = AllowList(["10.1.0.0/16", "Intranet.Example", " fd00::/8", "192.168.0.7", ""])
    assert allowed.accepts("any.example", ["10.1.2.3"])
    assert allowed.accepts("any.example", ["10.1.2.3", "93.184.216.34", "fd00::7"])
    assert allowed.accepts("intranet.example.", ["10.9.9.9"])
    assert not allowed.accepts("any.example", ["10.2.0.1"])
    assert not allowed.accepts("any.example", ["10.1.2.3", "10.2.0.1"])
    assert not allowed.accepts("www.intranet.example", ["10.9.9.9"])
    assert not allowed.accepts("intranet.example.evil.example", ["10.9.9.9"])
    assert not allowed.accepts("evilintranet.example", ["10.9.9.9"])
    assert not allowed.accepts("any.example", ["192.168.0.8"])
    assert not allowed.accepts("intranet.example", [])


@pytest.mark.parametrize(
    "entry", ["10.0.0.0/33", "10.0.0.1/8", "http://intranet.example", "*.example", "10.0.0", "a b"]
)
def test_what_names_neither_host_nor_network_is_refused_with_a_sentence(entry: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be allowed: write the name of a host, such as 'intranet\.example'"):
        AllowList([entry])
