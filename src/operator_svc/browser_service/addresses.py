"""Rules for the addresses that a page may reach, and the exceptions of ``BROWSER_ALLOW``.

Pure, without I/O. The refused networks are those of IANA's registries of special-purpose
addresses (RFC 6890 and its updates). Of IPv6 only global unicast (2000::/3, RFC 4291) is
allowed at all, which excludes every mapped, compatible, translated, local and multicast form.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from operator_svc.errors import ConfigurationError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_REFUSED_V4: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(network), reason)
    for network, reason in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a carrier (CGNAT)"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "reserved for documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "reserved for benchmarks"),
        ("198.51.100.0/24", "reserved for documentation"),
        ("203.0.113.0/24", "reserved for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)

_REFUSED_V6: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(network), reason)
    for network, reason in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "an IPv4-mapped address"),
        ("::/96", "an IPv4-compatible address"),
        ("64:ff9b::/96", "an IPv4 address behind NAT64"),
        ("64:ff9b:1::/48", "an IPv4 address behind NAT64"),
        ("fc00::/7", "private (unique local)"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
        ("2001::/32", "a Teredo tunnel"),
        ("2001::/23", "reserved for protocols"),
        ("2001:db8::/32", "reserved for documentation"),
        ("2002::/16", "a 6to4 tunnel"),
        ("3fff::/20", "reserved for documentation"),
    )
)

_GLOBAL_V6 = IPv6Network("2000::/3")
_COMPATIBLE = IPv6Network("::/96")
_NAT64 = IPv6Network("64:ff9b::/96")

_METADATA = frozenset(
    ip_address(address)
    for address in (
        "169.254.169.254",  # most clouds
        "169.254.170.2",  # AWS: credentials of a container task
        "169.254.170.23",  # AWS: credentials of a pod
        "169.254.169.253",  # AWS: resolver
        "169.254.0.23",  # Tencent
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure: the host of a machine; a public address, for its tenants only
        "192.0.0.192",  # Oracle
        "fd00:ec2::254",
        "fd00:ec2::253",
        "fd00:ec2::23",
        "fd20:ce::254",  # Google
        "fe80::a9fe:a9fe",  # OpenStack
    )
)
"""Addresses at which clouds hand out credentials. ``BROWSER_ALLOW`` does not open these."""

WEB_PORTS: Collection[int] = frozenset({80, 443})
"""Ports that pages may use wherever ``BROWSER_ALLOW`` names no other."""
ANY_PORT: Collection[int] = range(1, 65536)

_HOST = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_ENTRY = re.compile(r"(\[[^\[\]]+\]|[^:\[\]]+)(?::([0-9]{1,5}|\*))?")
"""A target, in brackets where it has colons itself, and a port or ``*`` for all."""


def normalize_host(host: str) -> str:
    """``host`` in the form that is compared: lower case, without brackets and final dot."""
    return host.strip("[]").rstrip(".").lower()


def embedded_v4(address: Address) -> IPv4Address | None:
    """The IPv4 address that is embedded in an IPv6 address, if there is one."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _COMPATIBLE or address in _NAT64:
        return IPv4Address(address.packed[12:])
    return None


METADATA = "a cloud's metadata service"


def is_metadata(address: Address) -> bool:
    """True for an address at which a cloud serves credentials, in any of its forms."""
    embedded = embedded_v4(address)
    return address in _METADATA or (embedded is not None and embedded in _METADATA)


def refusal_reason(address: Address) -> str | None:
    """The reason to refuse a connection to ``address``; None where it is globally routable."""
    if is_metadata(address):
        return METADATA
    if isinstance(address, IPv4Address):
        return next((reason for network, reason in _REFUSED_V4 if address in network), None)
    for network, reason in _REFUSED_V6:
        if address in network:
            return reason
    return None if address in _GLOBAL_V6 else "not globally routable"


class AllowList:
    """Hosts and networks of ``BROWSER_ALLOW``, which may have private addresses, and their ports.

    ``hosts`` are names, or ``*.`` and a domain, which means all names below it.
    """

    def __init__(
        self,
        hosts: tuple[tuple[str, Collection[int]], ...],
        networks: tuple[tuple[Network, Collection[int]], ...],
    ) -> None:
        self._hosts = hosts
        self._networks = networks

    @classmethod
    def parse(cls, text: str) -> AllowList:
        """Read a comma-separated list; raises ConfigurationError naming each invalid entry.

        An entry is a host, ``*.`` and a domain, an address or a network (``10.1.0.0/16``), with
        ``:`` and a port or ``*`` where other ports than 80 and 443 are meant.
        """
        hosts: list[tuple[str, Collection[int]]] = []
        networks: list[tuple[Network, Collection[int]]] = []
        problems: list[str] = []
        for entry in _split(text):
            try:
                target, ports = _parse_entry(entry)
            except ValueError:
                problems.append(f"BROWSER_ALLOW: {entry!r} is no host, address or network")
                continue
            if isinstance(target, str):
                hosts.append((target, ports))
            else:
                networks.append((target, ports))
        if problems:
            raise ConfigurationError(problems)
        return cls(tuple(hosts), tuple(networks))

    def allows(self, host: str, address: Address, port: int) -> bool:
        """True where ``host``, found at ``address``, may be opened on ``port``.

        Allowed is a name wherever it points to, or an address by whatever name.
        """
        host = normalize_host(host)
        return any(
            port in ports and (host == name or (name[0] == "*" and host.endswith(name[1:])))
            for name, ports in self._hosts
        ) or any(port in ports and contains(network, address) for network, ports in self._networks)


def parse_networks(text: str, setting: str) -> tuple[Network, ...]:
    """Read a comma-separated list of addresses and networks.

    Raises ConfigurationError naming ``setting`` and each invalid entry.
    """
    networks: list[Network] = []
    problems: list[str] = []
    for entry in _split(text):
        try:
            networks.append(ip_network(entry.strip("[]"), strict=False))
        except ValueError:
            problems.append(f"{setting}: {entry!r} is no address or network")
    if problems:
        raise ConfigurationError(problems)
    return tuple(networks)


def contains(network: Network, address: Address) -> bool:
    """True where ``address`` lies in ``network``, which may be of the other version."""
    return address.version == network.version and address in network


def _split(text: str) -> list[str]:
    return [entry for part in text.split(",") if (entry := part.strip())]


def _parse_entry(entry: str) -> tuple[str | Network, Collection[int]]:
    """Read one entry of ``BROWSER_ALLOW``; raises ValueError."""
    try:
        return ip_network(entry, strict=False), WEB_PORTS  # IPv6 without brackets, too
    except ValueError:
        match = _ENTRY.fullmatch(entry)
    if match is None:
        raise ValueError(entry)
    target, ports = match.group(1), _parse_ports(match.group(2))
    try:
        return ip_network(target.strip("[]"), strict=False), ports
    except ValueError:
        host = normalize_host(target)
    if target.startswith("[") or not _HOST.fullmatch(host) or host.replace(".", "").isdigit():
        raise ValueError(entry)
    return host, ports


def _parse_ports(text: str | None) -> Collection[int]:
    if text is None:
        return WEB_PORTS
    if text == "*":
        return ANY_PORT
    if int(text) not in ANY_PORT:
        raise ValueError(text)
    return frozenset({int(text)})
