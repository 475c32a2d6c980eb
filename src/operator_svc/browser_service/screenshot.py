"""Screenshots, bounded in pixels and in bytes."""

from __future__ import annotations

import base64
from math import sqrt
from typing import Any

from playwright.async_api import CDPSession

from operator_svc.protocol.navigate import Viewport

MAX_WIDTH = 4096
MAX_HEIGHT = 12_000
"""CSS pixels of a full page's screenshot; the rest is cut off."""

_ATTEMPTS = 4


async def take_screenshot(
    session: CDPSession, viewport: Viewport, full_page: bool, max_bytes: int
) -> bytes | None:
    """Return the page as a PNG, scaled down until it has at most ``max_bytes``.

    None where that does not succeed. Raises Playwright's Error where the page is gone.
    """
    width, height = viewport.width, viewport.height
    if full_page:
        metrics = await session.send("Page.getLayoutMetrics")
        size = metrics["cssContentSize"]
        width = min(max(int(size["width"]), width), MAX_WIDTH)
        height = min(max(int(size["height"]), height), MAX_HEIGHT)
    scale = 1.0
    for _ in range(_ATTEMPTS):
        parameters: dict[str, Any] = {"format": "png"}
        if full_page or scale != 1.0:
            clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": scale}
            parameters |= {"clip": clip, "captureBeyondViewport": full_page}
        png = base64.b64decode((await session.send("Page.captureScreenshot", parameters))["data"])
        if len(png) <= max_bytes:
            return png
        scale = max(scale * min(0.9 * sqrt(max_bytes / len(png)), 0.9), 0.02)
    return None
