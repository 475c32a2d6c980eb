"""Several Chromiums that start at once in one process."""

from __future__ import annotations

import asyncio
import os

from operator_svc.browser_service.chromium import Chromium
from operator_svc.settings import BrowserSettings


async def test_chromiums_that_start_at_once_leave_the_environment_as_it_was() -> None:
    before = dict(os.environ)
    settings = BrowserSettings(token="t")
    started = await asyncio.gather(*(Chromium.start(settings) for _ in range(2)))
    try:
        assert dict(os.environ) == before
    finally:
        await asyncio.gather(*(chromium.aclose() for chromium in started))
