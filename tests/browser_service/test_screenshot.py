"""Screenshots that Chromium cannot take at once."""

from __future__ import annotations

import base64
from typing import Any, cast

import pytest
from playwright.async_api import CDPSession
from playwright.async_api import Error as PlaywrightError

from operator_svc.browser_service import screenshot
from operator_svc.browser_service.screenshot import take_screenshot
from operator_svc.protocol.navigate import Viewport

PNG = b"a picture"


class Session:
    """A page that fails so many times to be drawn, with these words."""

    def __init__(self, failures: int, words: str = "Unable to capture screenshot") -> None:
        self.failures = failures
        self.words = words

    async def send(self, _method: str, _parameters: Any = None) -> dict[str, str]:
        self.failures -= 1
        if self.failures >= 0:
            raise PlaywrightError(f"Protocol error (Page.captureScreenshot): {self.words}")
        return {"data": base64.b64encode(PNG).decode()}


async def take(session: Session) -> bytes | None:
    page = cast(CDPSession, session)
    return (await take_screenshot(page, Viewport(800, 600), False, 1000)).png


async def test_a_page_that_is_not_drawn_yet_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screenshot, "_PAUSE", 0.0)
    assert await take(Session(3)) == PNG


@pytest.mark.parametrize("session", [Session(4), Session(1, "Target closed")])
async def test_a_page_that_is_never_drawn_or_gone_is_an_error(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screenshot, "_PAUSE", 0.0)
    with pytest.raises(PlaywrightError):
        await take(session)
