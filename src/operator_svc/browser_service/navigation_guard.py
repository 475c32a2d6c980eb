"""Watches where a page's main frame goes, before it goes there.

The lane alone keeps a page from forbidden addresses. But a refused navigation would replace
the page by Chromium's error page; the guard stops it earlier, so the page stays as it is.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import CDPSession
from playwright.async_api import Error as PlaywrightError

from operator_svc.background import TaskOwner
from operator_svc.browser_service.egress_policy import UnreachableError
from operator_svc.browser_service.page_proxy import PORTS, PageProxy

_LOCAL_SCHEMES = frozenset({"about", "blob", "data"})
"""They load nothing from anywhere, and Chromium lets pages use them only within itself."""

MAX_REFUSED = 100


class NavigationGuard:
    """Judges the documents that the main frame of one page is about to load."""

    def __init__(self, session: CDPSession, lane: PageProxy, tasks: TaskOwner) -> None:
        self._session = session
        self._lane = lane
        self._tasks = tasks
        self._main_frame = ""
        self._first = ""
        self.last_url = ""
        """The address that the main frame was last about to load."""
        self.refused: list[tuple[str, str]] = []
        """Addresses that it was kept from, with the reason."""
        self.blocked = asyncio.Event()
        """Set when the first navigation, or a redirect of it, was refused: there is no page."""
        self.stayed = asyncio.Event()
        """Set when the page was about to leave and stays: it may never be done loading then."""

    async def start(self) -> None:
        """Begin to watch; nothing may have been loaded before."""
        tree = await self._session.send("Page.getFrameTree")
        self._main_frame = tree["frameTree"]["frame"]["id"]
        self._session.on("Fetch.requestPaused", self._paused)
        pattern = {"urlPattern": "*", "resourceType": "Document", "requestStage": "Request"}
        await self._session.send("Fetch.enable", {"patterns": [pattern]})

    @property
    def main_frame(self) -> str:
        """The main frame's id in Chromium's protocol."""
        return self._main_frame

    def _paused(self, event: dict[str, Any]) -> None:
        self._tasks.start(self._decide(event), "navigation")

    async def _decide(self, event: dict[str, Any]) -> None:
        name, more = "Fetch.continueRequest", {}
        if event["frameId"] == self._main_frame:
            url = self.last_url = event["request"]["url"]
            # Redirects keep the id of the navigation that they belong to.
            navigation = event.get("networkId") or event["requestId"].partition(".")[0]
            self._first = self._first or navigation
            reason = await self._reason_against(url)
            if reason is not None:
                self._refuse(url, reason, navigation == self._first)
                name, more = "Fetch.failRequest", {"errorReason": "Aborted"}
        try:
            await self._session.send(name, {"requestId": event["requestId"], **more})
        except PlaywrightError:
            return  # the page went elsewhere or away meanwhile

    def _refuse(self, url: str, reason: str, is_first: bool) -> None:
        if len(self.refused) < MAX_REFUSED:
            self.refused.append((url, reason))
        (self.blocked if is_first else self.stayed).set()

    async def _reason_against(self, url: str) -> str | None:
        parts = urlsplit(url)
        if parts.scheme in _LOCAL_SCHEMES:
            return None
        if parts.scheme not in PORTS:
            return f"{parts.scheme}: addresses are not opened"
        try:
            await self._lane.judge(*self._lane.where(url))
        except UnreachableError as refused:
            # What merely does not work takes its way and fails as Chromium says it.
            return refused.reason if refused.blocked else None
        return None
