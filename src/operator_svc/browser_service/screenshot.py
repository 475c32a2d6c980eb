"""Pictures of a page, bounded in pixels and in bytes."""

from __future__ import annotations

import base64
from math import sqrt
from typing import Any

from playwright.async_api import CDPSession

from operator_svc.protocol.navigate import Viewport

MAX_WIDTH = 4096
MAX_HEIGHT = 12_000
"""CSS pixels of a full page's picture: what lies beyond is cut off."""

_TRIES = 4


async def take_screenshot(
    session: CDPSession, viewport: Viewport, full_page: bool, max_bytes: int
) -> bytes | None:
    """The page as a PNG; made smaller until it has at most ``max_bytes``.

    None where that does not succeed. Raises playwright's Error where the page does not answer.
    """
    width, height = viewport.width, viewport.height
    if full_page:
        metrics = await session.send("Page.getLayoutMetrics")
        size = metrics["cssContentSize"]
        width = min(max(int(size["width"]), width), MAX_WIDTH)
        height = min(max(int(size["height"]), height), MAX_HEIGHT)
    scale = 1.0
    for _ in range(_TRIES):
        what: dict[str, Any] = {"format": "png"}
        if full_page or scale != 1.0:
            clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": scale}
            what |= {"clip": clip, "captureBeyondViewport": full_page}
        picture = base64.b64decode((await session.send("Page.captureScreenshot", what))["data"])
        if len(picture) <= max_bytes:
            return picture
        scale = max(scale * min(0.9 * sqrt(max_bytes / len(picture)), 0.9), 0.02)
    return None
