"""Rules for addresses, and the allow list."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from operator_svc.browser_service.addresses import (
    AllowList,
    is_metadata,
    parse_networks,
    refusal_reason,
)
from operator_svc.errors import ConfigurationError

OPEN = ["1.1.1.1", "93.184.215.14", "100.63.255.255", "172.32.0.1", "198.17.255.255",
        "223.255.255.255", "2606:4700:4700::1111", "2a00::1", "2620:4f:8000::1"]  # fmt: skip


@pytest.mark.parametrize("address", OPEN)
def test_global_addresses_are_allowed(address: str) -> None:
    assert refusal_reason(ip_address(address)) is None


addresses = st.one_of(
    st.integers(0, 2**32 - 1).map(IPv4Address),
    st.integers(0, 2**128 - 1).map(IPv6Address),
    st.integers(0, 2**125 - 1).map(lambda n: IPv6Address((1 << 125) | n)),
    st.integers(0, 2**32 - 1).map(lambda n: IPv6Address((0xFFFF << 32) | n)),
    st.integers(0, 2**112 - 1).map(lambda n: IPv6Address((0x2002 << 112) | n)),
)


@given(addresses)
@example(ip_address("100.64.0.0"))
@example(ip_address("192.0.0.9"))
@example(ip_address("2001:4:112::1"))
def test_no_special_address_of_the_standard_library_is_allowed(
    address: IPv4Address | IPv6Address,
) -> None:
    """The standard library has its own list of IANA's registries; ours is no wider."""
    if refusal_reason(address) is None:
        assert address.is_global
        assert not any((address.is_multicast, address.is_private, address.is_link_local))


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::169.254.169.254",
     "2002:a9fe:a9fe::", "::169.254.169.254", "fd00:ec2::254", "100.100.100.200",
     "168.63.129.16", "fd20:ce::254"],
)  # fmt: skip
def test_metadata_addresses_are_refused_in_every_form(address: str) -> None:
    assert is_metadata(ip_address(address))
    assert refusal_reason(ip_address(address)) == "a cloud's metadata service"


def allowed(allow: str, *, host: str = "x.test", at: str = "10.0.0.1", port: int = 80) -> bool:
    return AllowList.parse(allow).allows(host, ip_address(at), port)


def test_allow_list_matches_its_hosts_and_networks() -> None:
    allow = " 10.1.0.0/16, 192.168.7.9 ,[::1], fd00::/8, Intra.Example., *.corp.test,"
    for address in ("10.1.255.1", "192.168.7.9", "::1", "fd12::1"):
        assert allowed(allow, at=address)
    for address in ("10.2.0.1", "127.0.0.1", "::2"):
        assert not allowed(allow, at=address)
    for host in ("INTRA.example", "a.b.corp.test."):
        assert allowed(allow, host=host)
    for host in ("corp.test", "xintra.example", "example", "evilcorp.test", "corp.test.evil"):
        assert not allowed(allow, host=host)


@pytest.mark.parametrize(
    ("entry", "host", "address"),
    [
        ("a.test", "a.test", "10.0.0.1"),
        ("*.test", "a.test", "10.0.0.1"),
        ("10.0.0.1", "a.test", "10.0.0.1"),
        ("10.0.0.0/8", "a.test", "10.0.0.1"),
        ("[fd00::/8]", "a.test", "fd00::1"),
        ("[fd00::1]", "a.test", "fd00::1"),
    ],
)
def test_allow_list_entry_opens_its_port_and_without_one_web_ports(
    entry: str, host: str, address: str
) -> None:
    def ports(allow: str) -> list[int]:
        return [p for p in (22, 80, 443, 8080) if allowed(allow, host=host, at=address, port=p)]

    assert ports(entry) == [80, 443]
    assert ports(f"{entry}:8080") == [8080]
    assert ports(f"{entry}:*") == [22, 80, 443, 8080]
    assert ports(f"{entry}, {entry}:22") == [22, 80, 443]


@pytest.mark.parametrize(
    "entry",
    ["http://a", "a:", "a:0", "a:65536", "a:80:80", "10.0.0.0/33", "1.2.3", "*", "*.", "a b", "a/b",
     "[x]:1", "[::1", "::1:*", "-a"],
)  # fmt: skip
def test_invalid_allow_list_entry_is_named(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="BROWSER_ALLOW") as caught:
        AllowList.parse(f"ok.test, {entry}")
    assert len(caught.value.problems) == 1


def test_deny_list_is_parsed_and_its_invalid_entries_are_named() -> None:
    networks = parse_networks("203.0.113.7, 9.8.0.0/16, [2600:99::/32], 64:ff9b:1::/48", "X")
    assert [str(network) for network in networks] == [
        "203.0.113.7/32", "9.8.0.0/16", "2600:99::/32", "64:ff9b:1::/48",
    ]  # fmt: skip
    with pytest.raises(ConfigurationError) as caught:
        parse_networks("9.8.0.0/16, a.test, 9.8.0.0/16:80", "BROWSER_DENY")
    assert caught.value.problems == [
        "BROWSER_DENY: 'a.test' is no address or network",
        "BROWSER_DENY: '9.8.0.0/16:80' is no address or network",
    ]
