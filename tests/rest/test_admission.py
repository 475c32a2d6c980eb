"""Connections that give way to others: cut within a body, and counted by their network."""

from __future__ import annotations

import os
import socket
import sys
from collections import Counter
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import pytest
import uvloop

from operator_svc.rest.server.admission import Admission, Limits, group_of
from operator_svc.services.byte_budget import ByteBudget
from tests.rest.raw_client import raw
from tests.rest.rest_service import running
from tests.rest.test_lock_out import SOON


def test_clients_that_are_cut_while_a_refused_body_is_dropped_are_no_fault(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def cut_within_a_body() -> None:
        async with running(sqlite_url, connections=10) as service, AsyncExitStack() as stack:
            address = urlsplit(service.url)
            refused = []
            for _ in range(10):
                refused.append(await stack.enter_async_context(raw(service)))
                shown = await refused[-1].status(
                    b"POST /nope HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                assert shown == 404
            # In one turn of the loop: newcomers, for whom these give way, and more of their bodies.
            for _ in range(10):
                newcomer = socket.create_connection((address.hostname, address.port))
                stack.enter_context(newcomer)
            for client in refused:
                os.write(client.writer.get_extra_info("socket").fileno(), b"1\r\n \r\n")
            for client in refused:
                assert await client.closed() < SOON

    uvloop.run(cut_within_a_body())
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize(
    ("host", "group"),
    [("10.1.2.3", "10.1.2.3"), ("::ffff:10.1.2.3", "10.1.2.3"), ("fe80::1%eth0", "fe80::/64"),
     ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"), ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
     ("", ""), ("no address", "no address")],
)  # fmt: skip
def test_an_address_of_ipv6_counts_with_its_network(host: str, group: str) -> None:
    assert group_of(host) == group


class Silent:
    """A connection that waits for its client since it came, or to be ``heard``."""

    def __init__(
        self, came: float, *, heard: bool = True, served: bool = False, address: str = "10.1.2.3"
    ) -> None:
        self.address = address
        self.came = came
        self.heard = heard
        self.served = served
        self.looks = self.asked = 0
        self.cuts: list[str] = []

    def stalled_since(self, now: float) -> float | None:
        self.looks += 1
        return None if self.served else self.came

    def is_unheard(self, now: float) -> bool:
        self.asked += 1
        return not self.heard

    def check(self, now: float, header_timeout: float, write_timeout: float) -> None: ...

    def cut(self, reason: str) -> None:
        self.cuts.append(reason)


def flood(newcomers: list[Silent]) -> Admission:
    """A full process of 500 places, to which others come."""
    admission = Admission(Limits(500, 1), ByteBudget(1))
    for connection in newcomers:
        assert admission.admit(connection, connection.came)
    return admission


def test_room_for_newcomers_asks_the_system_for_those_alone_that_go() -> None:
    newcomers = [Silent(float(n)) for n in range(2000)]
    assert len(flood(newcomers)) <= 500
    gone = [connection for connection in newcomers if connection.cuts]
    assert gone == newcomers[: len(gone)], "the oldest go"
    assert 1500 <= sum(connection.asked for connection in newcomers) == len(gone) < 1510


def test_a_connection_whose_request_is_unread_keeps_its_place() -> None:
    newcomers = [Silent(float(n), heard=n >= 3) for n in range(600)]
    admission = flood(newcomers)
    assert [connection.cuts for connection in newcomers[:4]] == [[], [], [], ["evicted"]]
    late = [Silent(float(n), heard=False) for n in range(500)]
    busy = flood(late)
    assert not busy.admit(Silent(500.0), 500.0)
    assert not busy.admit(Silent(500.0), 500.05)
    assert {connection.asked for connection in late} == {1}, "it looked again too soon"
    assert len(busy) == 500
    assert len(admission) <= 500


def test_a_rush_among_connections_that_are_served_looks_at_those_once() -> None:
    served = [Silent(float(n), served=True) for n in range(499)]
    admission = flood([*served, Silent(499.0)])
    rush = [Silent(500.0) for _ in range(1000)]
    for newcomer in rush:
        assert admission.admit(newcomer, 500.0)
    assert [newcomer.cuts for newcomer in rush] == [["evicted"]] * 999 + [[]]
    assert {connection.looks for connection in served} == {1}
    assert not any(connection.cuts for connection in served)


def test_who_goes_idle_meanwhile_goes_before_later_newcomers() -> None:
    served = [Silent(float(n), served=True) for n in range(500)]
    admission = flood(served)
    assert not admission.admit(Silent(500.0), 500.0)
    served[7].served = False
    served[7].came = 500.5  # its answer is whole
    newcomer = Silent(501.0)
    assert admission.admit(newcomer, 501.0)
    assert served[7].cuts == ["evicted"]
    served[8].served = False
    served[8].came = 501.5
    assert admission.admit(Silent(502.0), 502.0)
    assert (newcomer.cuts, served[8].cuts) == (["evicted"], [])
    assert admission.admit(Silent(503.0), 503.0)
    assert served[8].cuts == ["evicted"]


def crowded(sizes: dict[str, int]) -> tuple[Admission, list[Silent]]:
    """A full process, whose connections are all served: so many of each address."""
    admission = Admission(Limits(sum(sizes.values()), 0.9), ByteBudget(10**9))
    held = [
        Silent(0.0, served=True, address=address)
        for address, size in sizes.items()
        for _ in range(size)
    ]
    assert all(admission.admit(connection, 0.0) for connection in held)
    return admission, held


def test_newcomers_take_their_places_from_the_address_that_holds_most_down_to_its_part() -> None:
    admission, held = crowded({"a": 20, "b": 17, **{f"one {n}": 1 for n in range(20)}})
    admitted: list[bool] = []
    ahead: list[int] = []
    for n in range(22):
        admitted.append(admission.admit(Silent(1.0, served=True, address=f"new {n}"), 1.0))
        sizes = Counter(connection.address for connection in held if not connection.cuts)
        ahead.append(sizes["a"] - sizes["b"])
    assert ahead[:5] == [2, 1, 0, -1, 0]
    assert admitted == [True] * 21 + [False]
    assert sizes == {"a": 8, "b": 8, **{f"one {n}": 1 for n in range(20)}}
    assert {reason for connection in held for reason in connection.cuts} == {"address"}
    # The oldest of each have stayed.
    assert not any(connection.cuts for connection in [*held[:8], *held[20:28]])


def test_an_address_that_grew_meanwhile_gives_way_a_moment_later() -> None:
    admission, _ = crowded({"a": 9, **{f"one {n}": 1 for n in range(10)}})
    assert admission.admit(Silent(1.0, served=True, address="new"), 1.0)
    assert not admission.admit(Silent(1.0, served=True, address="late"), 1.0)
    for connection in [held for held in admission if held.address.startswith("one")][:9]:
        admission.leave(connection)
    grown = [Silent(1.0, served=True, address="grown") for _ in range(9)]
    assert all(admission.admit(connection, 1.0) for connection in grown)
    assert admission.admit(Silent(1.2, served=True, address="late"), 1.2)
    assert [connection.cuts for connection in grown] == [[]] * 8 + [["address"]]


def calls_of_a_rush(addresses: int) -> int:
    """Calls within the admission of newcomers that a greedy address gives way to."""
    admission, _ = crowded({"greedy": 60, **{f"one {n}": 1 for n in range(addresses)}})
    assert admission.admit(Silent(1.0, served=True, address="first"), 1.0)
    newcomers = [Silent(1.0, served=True, address=f"new {n}") for n in range(40)]
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        admitted = [admission.admit(newcomer, 1.0) for newcomer in newcomers]
    finally:
        sys.setprofile(None)
    assert all(admitted)
    return calls


def test_a_rush_that_a_greedy_address_gives_way_to_looks_at_all_addresses_once() -> None:
    assert calls_of_a_rush(2000) < 1.2 * calls_of_a_rush(20)
