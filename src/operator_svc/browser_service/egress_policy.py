"""The egress policy: which hosts a page may connect to, and at which addresses.

A name is resolved here, once; every address of it is checked, and the caller connects to the
checked addresses, never to the name. So a name that changes its address (DNS rebinding) gains
nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

from operator_svc.browser_service.addresses import (
    Address,
    AllowList,
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
    """The rules of one service: global addresses, and what ``BROWSER_ALLOW`` adds."""

    def __init__(self, allow: AllowList, resolver: Resolver) -> None:
        self._allow = allow
        self._resolver = resolver
        self.proxy_ports: set[int] = set()
        """Loopback ports of the page proxies: refused even where loopback is allowed."""

    async def addresses(self, host: str) -> tuple[Address, ...]:
        """Return the addresses of ``host``; raises UnreachableError.

        One refused address is enough to refuse the name.
        """
        name = normalize_host(host)
        any_address = self._allow.allows_host(name)
        if _is_localhost(name):
            # RFC 6761: always loopback, whatever a resolver answers.
            allowed = [a for a in _LOOPBACK if any_address or self._allow.allows_address(a)]
            found = tuple(allowed) or _LOOPBACK
        else:
            found = await self._resolve(name)
        for address in found:
            if is_metadata(address) or not (any_address or self._allow.allows_address(address)):
                reason = refusal_reason(address)
                if reason is not None:
                    raise UnreachableError(_explain(name, address, reason), blocked=True)
        return found

    def check_port(self, addresses: tuple[Address, ...], port: int) -> None:
        """Raise UnreachableError where the port belongs to a page proxy."""
        if port in self.proxy_ports and any(address.is_loopback for address in addresses):
            raise UnreachableError("this port belongs to the browser service", blocked=True)

    async def _resolve(self, name: str) -> tuple[Address, ...]:
        try:
            return (ip_address(name.partition("%")[0]),)
        except ValueError:
            pass
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT):
                found = await self._resolver(name)
        except TimeoutError:
            raise UnreachableError(
                f"the name {name} did not resolve in time", blocked=False
            ) from None
        except (OSError, UnicodeError):
            raise UnreachableError(f"the name {name} does not resolve", blocked=False) from None
        if not found:
            raise UnreachableError(f"the name {name} does not resolve", blocked=False)
        return tuple(ip_address(address.partition("%")[0]) for address in found)


def _is_localhost(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")


def _explain(name: str, address: Address, reason: str) -> str:
    if str(address) == name:
        return f"the address {name} is refused: {reason}"
    return f"the name {name} is refused: its address {address} is {reason}"
