"""Rates: token buckets, one for each key, by a clock of the test's own."""

from __future__ import annotations

import pytest

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.services import rate_limit
from operator_svc.services.rate_limit import RateLimit, TokenBucket
from tests.fakes.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_bucket_gives_its_rate_at_once_and_then_one_a_share_of_the_time(clock: Clock) -> None:
    bucket = TokenBucket(3, 60.0, clock)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    clock.now += 19.9
    assert not bucket.take()
    clock.now += 0.2
    assert bucket.take()
    assert not bucket.take()
    clock.now += 3600
    assert bucket.left == 3


def test_bucket_without_a_rate_gives_without_end(clock: Clock) -> None:
    bucket = TokenBucket(0, 60.0, clock)
    assert all(bucket.take() for _ in range(1000))


def test_limit_of_one_key_leaves_others_alone_and_says_when_to_come_back(clock: Clock) -> None:
    limit = RateLimit(2, 60.0, "things", clock)
    limit.take("a")
    limit.take("a")
    clock.now += 10
    with pytest.raises(OperatorError) as caught:
        limit.take("a")
    assert caught.value.code is ErrorCode.RATE_LIMITED
    assert caught.value.retry_after == pytest.approx(20)
    assert limit.left("b") == 2
    limit.take("b")


def test_limit_of_many_keys_forgets_the_one_not_seen_for_longest(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "MAX_BUCKETS", 2)
    limit = RateLimit(5, 60.0, "things", clock)
    for key in ("a", "b", "a", "c"):
        limit.take(key)
    assert [limit.left(key) for key in ("a", "b", "c")] == [3, 5, 4]
