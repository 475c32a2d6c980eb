"""Rules for the addresses that a page may reach, and the exceptions of ``BROWSER_ALLOW``.

Pure, without I/O. The refused networks are those of IANA's registries of special-purpose
addresses (RFC 6890 and its updates). Of IPv6 only global unicast (2000::/3, RFC 4291) is
allowed at all, which excludes every mapped, compatible, translated, local and multicast form.
"""

from __future__ import annotations

import re
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

_HOST = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


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


def is_metadata(address: Address) -> bool:
    """True for an address at which a cloud serves credentials, in any of its forms."""
    embedded = embedded_v4(address)
    return address in _METADATA or (embedded is not None and embedded in _METADATA)


def refusal_reason(address: Address) -> str | None:
    """The reason to refuse a connection to ``address``; None where it is globally routable."""
    if is_metadata(address):
        return "a cloud's metadata service"
    if isinstance(address, IPv4Address):
        return next((reason for network, reason in _REFUSED_V4 if address in network), None)
    for network, reason in _REFUSED_V6:
        if address in network:
            return reason
    return None if address in _GLOBAL_V6 else "not globally routable"


class AllowList:
    """Hosts and networks of ``BROWSER_ALLOW``, which may have private addresses."""

    def __init__(self, hosts: frozenset[str], networks: tuple[Network, ...]) -> None:
        self.hosts = hosts
        self.networks = networks

    @classmethod
    def parse(cls, text: str) -> AllowList:
        """Read a comma-separated list; raises ConfigurationError naming each invalid entry.

        An entry is an address, a network (``10.1.0.0/16``), a host, or ``*.`` and a domain,
        which means all hosts below it.
        """
        hosts: set[str] = set()
        networks: list[Network] = []
        problems: list[str] = []
        for entry in filter(None, (part.strip() for part in text.split(","))):
            try:
                networks.append(ip_network(entry.strip("[]"), strict=False))
                continue
            except ValueError:
                host = normalize_host(entry)
            if _HOST.fullmatch(host) and not host.replace(".", "").isdigit():
                hosts.add(host)
            else:
                problems.append(f"BROWSER_ALLOW: {entry!r} is no host, address or network")
        if problems:
            raise ConfigurationError(problems)
        return cls(frozenset(hosts), tuple(networks))

    def allows_host(self, host: str) -> bool:
        """True where the name ``host`` may have private addresses."""
        host = normalize_host(host)
        if host in self.hosts:
            return True
        labels = host.split(".")
        return any("*." + ".".join(labels[i:]) in self.hosts for i in range(1, len(labels)))

    def allows_address(self, address: Address) -> bool:
        """True where ``address`` lies in an allowed network."""
        return any(
            address.version == network.version and address in network for network in self.networks
        )
