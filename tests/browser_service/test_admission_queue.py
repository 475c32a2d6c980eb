"""The queue of pages, without a browser."""

from __future__ import annotations

import asyncio

import pytest

from operator_svc.browser_service.admission_queue import AdmissionQueue
from operator_svc.errors import ErrorCode, OperatorError
from tests.fakes.eventually import WITHIN


async def test_permits_are_granted_in_order_and_never_lost() -> None:
    queue = AdmissionQueue(pages=2, queue=3)
    order: list[int] = []

    async def use(number: int) -> None:
        await queue.acquire()
        order.append(number)
        await asyncio.sleep(0.001)  # the page
        queue.release(0.001)

    tasks = [asyncio.create_task(use(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert (queue.in_use, queue.waiting) == (2, 3)
    with pytest.raises(OperatorError) as caught:
        await queue.acquire()
    assert caught.value.code is ErrorCode.RATE_LIMITED
    assert caught.value.retry_after == 2
    tasks[3].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [0, 1, 2, 4]
    assert (queue.in_use, queue.waiting) == (0, 0)


async def test_permit_granted_to_a_cancelled_waiter_goes_to_the_next() -> None:
    queue = AdmissionQueue(pages=1, queue=2)
    await queue.acquire()
    first = asyncio.create_task(queue.acquire())
    second = asyncio.create_task(queue.acquire())
    await asyncio.sleep(0)
    queue.release(1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.wait_for(second, WITHIN)
    queue.release(1)
    assert (queue.in_use, queue.waiting) == (0, 0)


async def test_queue_of_size_zero_rejects_at_once() -> None:
    queue = AdmissionQueue(pages=1, queue=0)
    await queue.acquire()
    with pytest.raises(OperatorError):
        await queue.acquire()
