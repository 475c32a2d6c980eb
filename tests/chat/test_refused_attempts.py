"""Memory of attempts that were refused: bounded in time and in number."""

from __future__ import annotations

from operator_svc.services.chat.refused_attempts import ALIKE, MOST, WITHIN, RefusedAttempts


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_refusal_is_followed_once_and_in_time() -> None:
    clock = Clock()
    refused = RefusedAttempts(clock)
    refused.note("key", 0)
    clock.now = WITHIN
    refused.note("key", 0)
    refused.note("key", 0)
    clock.now = WITHIN + 1
    assert not refused.follows("key", 0), "the first attempt follows nothing"
    assert not refused.follows("another", 1)
    assert [refused.follows("key", 1) for _ in range(3)] == [True, True, False]


def test_refusals_of_one_attempt_are_bounded() -> None:
    refused = RefusedAttempts(Clock())
    for _ in range(ALIKE + 50):
        refused.note("key", 0)
    assert sum(refused.follows("key", 1) for _ in range(ALIKE + 50)) == ALIKE


def test_the_oldest_attempts_are_forgotten_first() -> None:
    refused = RefusedAttempts(Clock())
    for number in range(MOST + 1):
        refused.note(str(number), 0)
    assert not refused.follows("0", 1)
    assert refused.follows("1", 1)
    assert refused.follows(str(MOST), 1)
