"""Writes that are repeated while the database is away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.services import retry
from operator_svc.services.retry import until_stored

AWAY = OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "away")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(retry, "LONGEST_PAUSE", 0.02)


class Write:
    """Fails with each of ``errors`` in turn, then answers 7."""

    def __init__(self, errors: Iterator[Exception]) -> None:
        self.errors = errors
        self.tries = 0

    async def __call__(self) -> int:
        self.tries += 1
        for error in self.errors:
            raise error
        return 7


def for_ever() -> Iterator[Exception]:
    while True:
        yield AWAY


async def test_outage_is_waited_out_and_the_answer_returned() -> None:
    write = Write(iter([AWAY] * 5))
    assert await until_stored(write, "it") == 7
    assert write.tries == 6


async def test_outage_longer_than_allowed_raises_the_last_error() -> None:
    write = Write(for_ever())
    with pytest.raises(OperatorError) as caught:
        await until_stored(write, "it", within=0.1)
    assert caught.value is AWAY
    assert write.tries > 2


@pytest.mark.parametrize(
    "error", [ValueError("ours"), OperatorError(ErrorCode.CONFLICT, "not the database's")]
)
async def test_other_errors_are_raised_at_once(error: Exception) -> None:
    write = Write(iter([error]))
    with pytest.raises(type(error)):
        await until_stored(write, "it")
    assert write.tries == 1


async def test_write_that_is_not_wanted_any_more_is_given_up() -> None:
    write = Write(for_ever())
    assert await until_stored(write, "it", wanted=lambda: write.tries < 3) is None
    assert write.tries == 3


async def test_write_that_was_never_wanted_is_not_tried() -> None:
    write = Write(iter([]))
    assert await until_stored(write, "it", wanted=lambda: False) is None
    assert write.tries == 0
