"""The circuit breaker of a peer: when it opens, who probes, and whose outcome counts."""

from __future__ import annotations

import pytest

from operator_svc.peers.breaker import Breaker, CircuitOpenError
from tests.fakes.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("thing", threshold=2, cool_down=10, clock=clock)


def state(breaker: Breaker) -> str:
    return breaker.state


def open_it(breaker: Breaker) -> None:
    for _ in range(2):
        breaker.failed(breaker.acquire())
    assert state(breaker) == "open"


def test_open_circuit_lets_one_call_probe(breaker: Breaker, clock: Clock) -> None:
    open_it(breaker)
    clock.now = 9.9
    with pytest.raises(CircuitOpenError):
        breaker.acquire()
    clock.now = 10
    permit = breaker.acquire()
    assert state(breaker) == "half_open"
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    assert caught.value.retry_after == 1
    breaker.failed(permit)
    assert state(breaker) == "open"
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    assert caught.value.retry_after == 10


def test_abandoned_probe_lets_the_next_call_probe(breaker: Breaker, clock: Clock) -> None:
    open_it(breaker)
    clock.now = 10
    breaker.abandoned(breaker.acquire())
    breaker.succeeded(breaker.acquire())
    assert state(breaker) == "closed"


def test_call_of_an_earlier_state_changes_nothing(breaker: Breaker, clock: Clock) -> None:
    old = breaker.acquire()
    open_it(breaker)
    breaker.succeeded(old)
    assert state(breaker) == "open"
    clock.now = 10
    trying = breaker.acquire()
    breaker.failed(old)
    breaker.abandoned(old)
    assert state(breaker) == "half_open"
    breaker.succeeded(trying)
    breaker.failed(old)
    breaker.failed(old)
    assert state(breaker) == "closed"


def test_circuit_with_successes_between_failures_stays_closed(breaker: Breaker) -> None:
    for _ in range(5):
        breaker.failed(breaker.acquire())
        breaker.succeeded(breaker.acquire())
    assert state(breaker) == "closed"


def test_long_probe_with_a_first_byte_lets_others_in(breaker: Breaker, clock: Clock) -> None:
    open_it(breaker)
    clock.now = 10
    permit = breaker.first_byte(breaker.acquire())
    assert state(breaker) == "closed"
    breaker.acquire()
    breaker.failed(permit)
    assert state(breaker) == "open"
    clock.now = 20
    permit = breaker.first_byte(breaker.acquire())
    breaker.succeeded(permit)
    breaker.failed(breaker.acquire())
    assert state(breaker) == "closed"
