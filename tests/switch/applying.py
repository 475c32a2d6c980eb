"""Short ways to record, apply and revert adjustments."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from operator_svc.errors import OperatorError
from operator_svc.models import SwitchAdjustment
from operator_svc.protocol.switch import AdjustmentBody
from tests.fakes.eventually import eventually
from tests.fakes.records import ANYBODY, FakeSwitch, Pod

T = TypeVar("T")

BEFORE = ("BALANCED", "small", None)


class Counted:
    """A read that counts how often it came back."""

    def __init__(self, read: Any) -> None:
        self._read = read
        self.calls = 0

    async def __call__(self, *args: Any) -> Any:
        found = await self._read(*args)
        self.calls += 1
        return found


async def recorded(pod: Pod, after: dict[str, Any], **fields: Any) -> SwitchAdjustment:
    body = AdjustmentBody(**{"after_config": after, "reason": "why", **fields})
    return await pod.adjustments.record(ANYBODY, body)


async def begun(switch: FakeSwitch, change: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """``change`` under way: Switch has its first call, and answers once its gate is set."""
    switch.gate.clear()
    task = asyncio.create_task(change)
    await eventually(lambda: switch.calls[1:])
    return task


async def failure(pod: Pod, adjustment: SwitchAdjustment, *, revert: bool = False) -> OperatorError:
    with pytest.raises(OperatorError) as caught:
        await (pod.adjustments.revert if revert else pod.adjustments.apply)(ANYBODY, adjustment.id)
    return caught.value


async def stored(pod: Pod, adjustment: SwitchAdjustment) -> SwitchAdjustment:
    row = await pod.adjustment_store.get(adjustment.id)
    assert row is not None
    return row
