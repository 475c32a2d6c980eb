"""Addresses that no page may reach, for all tests that try them."""

from __future__ import annotations

GLOBAL = "93.184.215.14"
"""An address that pages may reach."""

NETWORKS = [
    ("10.0.0.1", "private"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.168.1.1", "private"),
    ("100.64.0.1", "carrier"),
    ("169.254.1.1", "link-local"),
    ("169.254.169.254", "metadata"),
    ("::ffff:169.254.169.254", "metadata"),
    ("fd00:ec2::254", "metadata"),
    ("192.0.0.1", "reserved"),
    ("198.18.0.1", "benchmarks"),
    ("224.0.0.1", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "reserved"),
    ("fc00::1", "unique local"),
    ("fe80::1", "link-local"),
    ("ff02::1", "multicast"),
    ("64:ff9b::a00:1", "NAT64"),
    ("2002:a00:1::", "6to4"),
    ("::ffff:10.0.0.1", "IPv4-mapped"),
    ("::10.0.0.1", "IPv4-compatible"),
    ("2001::1", "Teredo"),
    ("4000::1", "not globally routable"),
    ("127.0.0.1", "loopback"),
    ("::1", "loopback"),
    ("0.0.0.0", "unspecified"),
    ("::", "unspecified"),
    ("::ffff:127.0.0.1", "IPv4-mapped"),
    ("100.100.100.200", "metadata"),
    ("168.63.129.16", "metadata"),
    ("192.0.2.1", "documentation"),
    ("192.88.99.1", "6to4"),
    ("64:ff9b:1::1", "NAT64"),
    ("2001:db8::1", "documentation"),
    ("3fff::1", "documentation"),
    ("64:ff9b::169.254.169.254", "metadata"),
]
"""An address of each special network, with the reason to refuse it."""

LOOPBACK = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0x7F.1",
    "0177.0.0.1",
    "017700000001",
    "0x7f.0.0.0x1",
    "127.0.0.0x1",
    "%31%32%37.0.0.1",
    "１２７.0.0.1",
    "127。0。0。1",
    "0",
    "0.0.0.0",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "foo.localhost",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "user:password@127.0.0.1",
    "pages.test@127.0.0.1",
    "pages.test:80@127.0.0.1",
    "loopback.test",
    "loopback.test.",
    "mixed.test",
]
"""Spellings of loopback in a URL; ``loopback.test`` and ``mixed.test`` are names with it."""


def in_url(address: str) -> str:
    """``address`` as the host of a URL."""
    return f"[{address}]" if ":" in address else address
