"""Screenshots, bounded in pixels and in bytes."""

from __future__ import annotations

import asyncio
import base64
from math import sqrt
from typing import Any, NamedTuple

from playwright.async_api import CDPSession
from playwright.async_api import Error as PlaywrightError

from operator_svc.protocol.navigate import Viewport

MAX_WIDTH = 4096
MAX_HEIGHT = 12_000
"""CSS pixels of a full page's screenshot; the rest is cut off."""

_ATTEMPTS = 4
_NOT_DRAWN = "Unable to capture screenshot"
"""Chromium's words where it has no picture of the page at this moment, as on a busy machine."""
_PAUSE = 0.2


class PageScreenshot(NamedTuple):
    """A PNG of at most the asked bytes, or None; ``cut`` says what of the page it lacks."""

    png: bytes | None
    cut: str | None = None


async def take_screenshot(
    session: CDPSession, viewport: Viewport, full_page: bool, max_bytes: int
) -> PageScreenshot:
    """Take a screenshot of the page, scaled down until it has at most ``max_bytes``.

    It has no PNG where that does not succeed. Raises Playwright's Error where the page is gone.
    """
    width, height = viewport.width, viewport.height
    cut = None
    if full_page:
        metrics = await session.send("Page.getLayoutMetrics")
        size = metrics["cssContentSize"]
        whole = max(int(size["width"]), width), max(int(size["height"]), height)
        width, height = min(whole[0], MAX_WIDTH), min(whole[1], MAX_HEIGHT)
        if whole != (width, height):
            shown, of = f"{width} x {height}", f"{whole[0]} x {whole[1]}"
            cut = f"the screenshot is cut: it shows {shown} of {of} pixels"
    scale = 1.0
    for _ in range(_ATTEMPTS):
        parameters: dict[str, Any] = {"format": "png"}
        if full_page or scale != 1.0:
            clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": scale}
            parameters |= {"clip": clip, "captureBeyondViewport": full_page}
        png = await _capture(session, parameters)
        if len(png) <= max_bytes:
            return PageScreenshot(png, cut)
        scale = max(scale * min(0.9 * sqrt(max_bytes / len(png)), 0.9), 0.02)
    return PageScreenshot(None)


async def _capture(session: CDPSession, parameters: dict[str, Any]) -> bytes:
    """The page as PNG; asked for again where it is not drawn at this moment."""
    attempt = 1
    while True:
        try:
            taken = await session.send("Page.captureScreenshot", parameters)
            return base64.b64decode(taken["data"])
        except PlaywrightError as error:
            if _NOT_DRAWN not in error.message or attempt == _ATTEMPTS:
                raise
        attempt += 1
        await asyncio.sleep(_PAUSE)
