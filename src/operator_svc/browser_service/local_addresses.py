"""Recognition of this machine's own addresses, which may be global ones.

A socket can be bound only to an address that the kernel delivers locally. That asks the kernel
itself, includes routes of type ``local``, needs no privilege, and is true at this moment:
addresses are added and removed while the service runs.
"""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address

from operator_svc.browser_service.addresses import Address
from operator_svc.errors import ConfigurationError

_NOT_LOCAL = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
_FOREIGN = {
    "net.ipv4.ip_nonlocal_bind": ip_address("192.0.2.1"),
    "net.ipv6.ip_nonlocal_bind": ip_address("2001:db8::1"),
}
"""Addresses for documentation, which no machine has, by the setting that lets any be bound."""


def is_local(address: Address) -> bool:
    """True for an address of this machine, and where the kernel does not say."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError as error:
        return error.errno not in _NOT_LOCAL
    return True


def require_detection() -> None:
    """Raise ConfigurationError where the kernel lets sockets be bound to any address."""
    problems = [
        f"{setting} is on: this machine's own addresses cannot be told from others; turn it off"
        for setting, address in _FOREIGN.items()
        if is_local(address)
    ]
    if problems:
        raise ConfigurationError(problems)
