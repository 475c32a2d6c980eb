"""How late the event loop is: what blocks it delays every client."""

from __future__ import annotations

import asyncio
import time

from operator_svc import telemetry

INTERVAL = 0.25
"""Seconds between looks."""


async def watch() -> None:
    """Measure for as long as the loop runs."""
    while True:
        due = time.perf_counter() + INTERVAL
        await asyncio.sleep(INTERVAL)
        # The loop counts in milliseconds, so that a timer may also come a little early.
        telemetry.EVENT_LOOP_LAG_SECONDS.observe(max(time.perf_counter() - due, 0.0))
