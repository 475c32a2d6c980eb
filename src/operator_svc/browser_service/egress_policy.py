"""The egress policy: which hosts and ports a page may connect to, and at which addresses.

A page's name is resolved here, once; all addresses of it are checked before each connection,
and the caller connects to a checked address, never to the name. So a name that changes its
address (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

from operator_svc.browser_service import local_addresses
from operator_svc.browser_service.addresses import (
    METADATA,
    WEB_PORTS,
    Address,
    AllowList,
    Network,
    contains,
    is_metadata,
    normalize_host,
    refusal_reason,
)

Resolver = Callable[[str], Awaitable[list[str]]]
"""Returns the addresses of a name as text; raises OSError where it has none."""

_LOOPBACK: tuple[Address, ...] = (ip_address("127.0.0.1"), ip_address("::1"))

RESOLVE_TIMEOUT = 10.0
RESOLVER_THREADS = 32


class UnreachableError(Exception):
    """A host that the page cannot connect to; ``reason`` may be shown to the caller.

    ``blocked`` is True where the policy refuses it, False where the network does.
    """

    def __init__(self, reason: str, *, blocked: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.blocked = blocked


class SystemResolver:
    """The system's resolver on its own threads: a slow name must not block other work."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolve")

    async def __call__(self, name: str) -> list[str]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    def close(self) -> None:
        """End the threads; does not wait for a lookup in progress."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class EgressPolicy:
    """The rules of one service: global addresses on web ports, and the exceptions.

    ``deny`` wins over ``allow``, and metadata services are refused whatever is allowed.
    """

    def __init__(
        self,
        resolver: Resolver,
        allow: AllowList,
        deny: tuple[Network, ...] = (),
        is_local: Callable[[Address], bool] = local_addresses.is_local,
    ) -> None:
        self._resolver = resolver
        self._allow = allow
        self._deny = deny
        self._is_local = is_local
        self.proxy_ports: set[int] = set()
        """Loopback ports of the page proxies: refused even where loopback is allowed."""

    async def resolve(self, host: str) -> tuple[Address, ...]:
        """Return the addresses of ``host``, unchecked; raises UnreachableError."""
        name = normalize_host(host)
        if _is_localhost(name):
            return _LOOPBACK  # RFC 6761: always loopback, whatever a resolver answers
        try:
            return (ip_address(name.partition("%")[0]),)
        except ValueError:
            return await self._resolve(name)

    def check(self, host: str, port: int, addresses: tuple[Address, ...]) -> tuple[Address, ...]:
        """Return the addresses to connect to now; raises UnreachableError.

        One refused address is enough to refuse a name, except ``localhost``.
        """
        name = normalize_host(host)
        refused = {
            address: reason
            for address in addresses
            if (reason := self._refusal_reason(name, port, address)) is not None
        }
        permitted = tuple(address for address in addresses if address not in refused)
        if refused and not (_is_localhost(name) and permitted):
            address, reason = next(iter(refused.items()))
            raise UnreachableError(_explain(name, address, reason), blocked=True)
        if port in self.proxy_ports and any(address.is_loopback for address in permitted):
            raise UnreachableError("this port belongs to the browser service", blocked=True)
        if port not in WEB_PORTS and not self._allows(name, port, permitted):
            reason = f"port {port} of {host} is refused: pages may use 80 and 443"
            raise UnreachableError(reason, blocked=True)
        return permitted

    def _refusal_reason(self, name: str, port: int, address: Address) -> str | None:
        if is_metadata(address):
            return METADATA
        if any(contains(network, address) for network in self._deny):
            return "in a network that BROWSER_DENY names"
        if self._allow.allows(name, address, port):
            return None
        if (reason := refusal_reason(address)) is not None:
            return reason
        return "an address of this machine" if self._is_local(address) else None

    def _allows(self, name: str, port: int, addresses: tuple[Address, ...]) -> bool:
        return all(self._allow.allows(name, address, port) for address in addresses)

    async def _resolve(self, name: str) -> tuple[Address, ...]:
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT):
                found = await self._resolver(name)
        except TimeoutError:
            raise UnreachableError(
                f"the name {name} did not resolve in time", blocked=False
            ) from None
        except (OSError, UnicodeError):
            found = []
        if not found:
            raise UnreachableError(f"the name {name} does not resolve", blocked=False)
        return tuple(ip_address(address.partition("%")[0]) for address in found)


def _is_localhost(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")


def _explain(name: str, address: Address, reason: str) -> str:
    if str(address) == name:
        return f"the address {name} is refused: {reason}"
    return f"the name {name} is refused: its address {address} is {reason}"
