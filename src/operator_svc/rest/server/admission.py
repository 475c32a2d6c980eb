"""Admission of connections: their number, and which one is closed when places run out.

First those that only their client could move on: it is idle, sends its request slowly, or takes
nothing of its answer. Then those of an address that holds more than its share, for an address that
does not; for one that does, only its own give way. Others keep their places. Beyond all places a
few in reserve are kept for probes, so that a full process is not taken for a dead one.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Iterator
from heapq import heapify, heapreplace
from operator import itemgetter
from typing import NamedTuple, Protocol

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol import problems
from operator_svc.rest.request_context import new_request_id
from operator_svc.services.byte_budget import ByteBudget

RESERVE = 256
"""Connections beyond the limit; only probes are answered on them. As many as a rush of new clients
brings in several turns of the event loop, since a probe is read in the turn after its accepting."""
FEW = 8
"""Connections that an address keeps however many others want some: those of a browser."""
STALL = 1.0
"""Seconds without progress after which a connection that is being served may lose its place."""
_RECHECK = 0.1
"""Seconds between two searches for connections to close, which look at all that have a place."""


class Limits(NamedTuple):
    """Connections in all, and the most of them, as a share, that one address keeps; 1 is all."""

    connections: int
    address_share: float


class Held(Protocol):
    """A connection, as far as its place needs it."""

    address: str

    def stalled_since(self, now: float) -> float | None:
        """The time since which the connection waits for its client; None while it is served."""

    def is_unheard(self, now: float) -> bool:
        """True where its client has sent what the event loop has not read: it waits for that. It
        takes a call of the system, so only those are asked that would be closed."""

    def check(self, now: float, header_timeout: float, write_timeout: float) -> None:
        """Cut it where its client takes too long, in seconds, for a head, or for its answer."""

    def cut(self, reason: str) -> None:
        """Close it at once."""


class _Places:
    """Connections with a place, the oldest first.

    Where places have run out, ``stalled`` are those that wait for their client, and since when; the
    last one waits longest. They are looked for at ``search_after`` or later, and newcomers join.
    """

    __slots__ = ("held", "search_after", "stalled")

    def __init__(self) -> None:
        self.held: dict[Held, None] = {}
        self.stalled: OrderedDict[Held, float] = OrderedDict()
        self.search_after = 0.0

    def add(self, connection: Held, now: float) -> None:
        """Give ``connection`` a place."""
        self.held[connection] = None
        if now < self.search_after and (since := connection.stalled_since(now)) is not None:
            self.stalled[connection] = since
            self.stalled.move_to_end(connection, last=False)

    def remove(self, connection: Held) -> None:
        """Take the place of ``connection`` back."""
        del self.held[connection]
        self.stalled.pop(connection, None)

    def longest_stalled(self, now: float) -> Held | None:
        """The connection that has made no progress for longest; None where all are served."""
        if now >= self.search_after:
            self.search_after = now + _RECHECK
            self._search(now)
        while self.stalled:
            held, since = self.stalled.popitem()
            if held.stalled_since(now) == since and not held.is_unheard(now):
                return held
        return None

    def _search(self, now: float) -> None:
        found = [(held, held.stalled_since(now)) for held in self.held]
        waiting = [(held, since) for held, since in found if since is not None]
        waiting.sort(key=itemgetter(1), reverse=True)
        self.stalled = OrderedDict(waiting)


class Admission:
    """Gives connections their places; ``budget`` counts the bytes that wait in all of them."""

    def __init__(self, limits: Limits, budget: ByteBudget) -> None:
        self.budget = budget
        self._limits = limits
        self._all = _Places()
        self._of_address: dict[str, _Places] = {}
        self._reserve: dict[Held, None] = {}
        self._compare_after = 0.0
        self._by_size: list[tuple[int, int, _Places]] = []
        """A heap of the addresses, as they were found, with the number of each one's connections:
        it is put right where it is looked at. They are looked for at ``_compare_after`` or
        later."""

    def __len__(self) -> int:
        return len(self._all.held)

    def __iter__(self) -> Iterator[Held]:
        return iter([*self._all.held, *self._reserve])

    def admit(self, connection: Held, now: float) -> bool:
        """Give ``connection`` a place; False where it has one in reserve only."""
        address = connection.address
        if len(self) < self._limits.connections or self._make_room(address, now):
            self._all.add(connection, now)
            self._of_address.setdefault(address, _Places()).add(connection, now)
            return True
        if len(self._reserve) >= RESERVE:
            self._shrink_reserve(now)
        self._reserve[connection] = None
        return False

    def leave(self, connection: Held) -> None:
        """Take the place of ``connection`` back; twice is like once."""
        self._reserve.pop(connection, None)
        if connection not in self._all.held:
            return
        self._all.remove(connection)
        own = self._of_address[connection.address]
        own.remove(connection)
        if not own.held:
            del self._of_address[connection.address]

    def _cut(self, connection: Held, reason: str) -> None:
        self.leave(connection)
        connection.cut(reason)

    def _shrink_reserve(self, now: float) -> None:
        """Cut one of the address that has most there, since a probe comes alone: the oldest that
        has sent nothing, or else the oldest."""
        ((crowd, _),) = Counter(held.address for held in self._reserve).most_common(1)
        oldest = [held for held in self._reserve if held.address == crowd]
        silent = (
            held
            for held in oldest
            if held.stalled_since(now) is not None and not held.is_unheard(now)
        )
        self._cut(next(silent, oldest[0]), "full")

    def _make_room(self, newcomer: str, now: float) -> bool:
        share = self._fair_share(newcomer)
        own = self._of_address.get(newcomer)
        if own is not None and len(own.held) >= share:
            return self._cut_stalled(own, now)
        return self._cut_stalled(self._all, now) or self._cut_beyond(share, now)

    def _fair_share(self, newcomer: str) -> float:
        """The places that each address keeps while ``newcomer`` wants one."""
        connections, most = self._limits
        if most == 1:
            return connections
        addresses = len(self._of_address) + (newcomer not in self._of_address)
        return min(connections * most, max(connections / addresses, FEW))

    def _cut_stalled(self, places: _Places, now: float) -> bool:
        if (held := places.longest_stalled(now)) is None:
            return False
        self._cut(held, "evicted")
        return True

    def _cut_beyond(self, share: float, now: float) -> bool:
        """Cut the newest one of the address that holds most, where that is more than ``share``."""
        if now >= self._compare_after:
            self._compare_after = now + _RECHECK
            self._by_size = [
                (-len(places.held), number, places)
                for number, places in enumerate(self._of_address.values())
            ]
            heapify(self._by_size)
        while (first := self._by_size[0])[0] != -len(first[2].held):
            heapreplace(self._by_size, (-len(first[2].held), *first[1:]))
        greedy = first[2].held
        if len(greedy) <= share:
            return False
        self._cut(next(reversed(greedy)), "address")
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
