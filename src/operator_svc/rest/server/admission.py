"""Admission of connections: how many there are, and who gives way where places run out.

First those that only their client could move on: it is idle, sends its request slowly, or takes
nothing of its answer. Then those of an address that holds more than its share, for an address that
does not. Others keep their places. Beyond all places a few in reserve are kept for probes, so that
a full process is not taken for a dead one.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import NamedTuple, Protocol

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol import problems
from operator_svc.rest.request_context import new_request_id
from operator_svc.services.byte_budget import ByteBudget

RESERVE = 64
"""Connections beyond the limit; only probes are answered on them."""
_RECHECK = 0.1
"""Seconds between two searches for a connection that gives way, where the last found none."""


class Limits(NamedTuple):
    """Connections in all, and the share of them that one address keeps; 1 is no limit."""

    connections: int
    address_share: float


class Held(Protocol):
    """A connection, as far as its place needs it."""

    address: str

    def stalled_since(self, now: float) -> float | None:
        """The time since which only its client could go on; None while it is served."""

    def cut(self, reason: str) -> None:
        """Close it at once."""


class Admission:
    """Gives connections their places; ``budget`` counts the bytes that wait in all of them."""

    def __init__(self, limits: Limits, budget: ByteBudget) -> None:
        self.budget = budget
        self._most = limits.connections
        self._share = limits.connections * limits.address_share
        self._places: dict[Held, None] = {}
        self._reserve: dict[Held, None] = {}
        self._of_address: Counter[str] = Counter()
        self._search_after = 0.0

    def __len__(self) -> int:
        return len(self._places)

    def admit(self, connection: Held, now: float) -> bool:
        """Give ``connection`` a place; False where it has one in reserve only."""
        if self._has_room(connection.address, now):
            self._places[connection] = None
            self._of_address[connection.address] += 1
            return True
        if len(self._reserve) >= RESERVE:
            self._cut(next(iter(self._reserve)), "full")
        self._reserve[connection] = None
        return False

    def leave(self, connection: Held) -> None:
        """Take the place of ``connection`` back; twice is like once."""
        self._reserve.pop(connection, None)
        if connection not in self._places:
            return
        del self._places[connection]
        self._of_address[connection.address] -= 1
        if not self._of_address[connection.address]:
            del self._of_address[connection.address]

    def _cut(self, connection: Held, reason: str) -> None:
        self.leave(connection)
        connection.cut(reason)

    def _has_room(self, address: str, now: float) -> bool:
        return len(self._places) < self._most or self._cut_stalled(now) or self._cut_one_of(address)

    def _cut_stalled(self, now: float) -> bool:
        """Cut those that have made no progress for longest; False where all are served.

        A hundredth of the places at once, so that the search is paid by many newcomers.
        """
        if now < self._search_after:
            return False
        stalled = []
        for place in self._places:
            since = place.stalled_since(now)
            if since is not None:
                stalled.append((since, place))
        if not stalled:
            self._search_after = now + _RECHECK
            return False
        stalled.sort(key=lambda found: found[0])
        for _, place in stalled[: max(1, self._most // 100)]:
            self._cut(place, "evicted")
        return True

    def _cut_one_of(self, newcomer: str) -> bool:
        """Cut the newest one of the address that holds most, where that is more than its share,
        and the newcomer's address holds less than its own."""
        ((greedy, count),) = self._of_address.most_common(1)
        if count <= self._share or self._of_address[newcomer] >= self._share:
            return False
        newest = next(place for place in reversed(self._places) if place.address == greedy)
        self._cut(newest, "address")
        return True


def group_of(host: str) -> str:
    """The clients that count as one address: one of IPv4, a /64 of IPv6, which one owner has."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host


def full() -> OperatorError:
    """The failure of a client for whom there is no place."""
    return OperatorError(ErrorCode.RATE_LIMITED, "too many connections", retry_after=5.0)


def full_response() -> bytes:
    """The whole answer to a client that has no place and sends no request."""
    answer = problems.answer(full(), new_request_id())
    head = "HTTP/1.1 429 Too Many Requests\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
    head += f"Connection: close\r\nContent-Length: {len(answer.body)}\r\n\r\n"
    return head.encode() + answer.body
