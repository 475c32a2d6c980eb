"""Decides about navigations of a page's main frame before they begin.

The proxy alone keeps a page from refused addresses. But Chromium would replace the page by an
error page when a navigation fails; the guard cancels it earlier, so the page stays as it is.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import CDPSession
from playwright.async_api import Error as PlaywrightError

from operator_svc.background import TaskOwner
from operator_svc.browser_service.egress_policy import UnreachableError
from operator_svc.browser_service.page_proxy import DEFAULT_PORTS, PageProxy

_LOCAL_SCHEMES = frozenset({"about", "blob", "data"})
"""They load nothing from the network, and Chromium restricts them to the page itself."""

MAX_REFUSED = 100
STORAGE_QUOTA = 1024 * 1024
"""Bytes that an origin may keep in IndexedDB, caches and its file system, all in memory."""


class NavigationGuard:
    """Allows or refuses the documents that the main frame of one page is about to load."""

    def __init__(self, session: CDPSession, proxy: PageProxy, tasks: TaskOwner) -> None:
        self._session = session
        self._proxy = proxy
        self._tasks = tasks
        self._main_frame = ""
        self._first_navigation = ""
        self.last_url = ""
        """The address of the main frame's latest navigation."""
        self.refused: list[tuple[str, str]] = []
        """Refused addresses, each with its reason."""
        self.blocked = asyncio.Event()
        """Set when the first navigation, or a redirect of it, is refused: there is no page."""
        self.canceled = asyncio.Event()
        """Set when a later navigation is refused: `load` may never fire after that."""

    async def start(self) -> None:
        """Begin to intercept navigations; must run before the page loads anything."""
        tree = await self._session.send("Page.getFrameTree")
        self._main_frame = tree["frameTree"]["frame"]["id"]
        self._session.on("Fetch.requestPaused", self._on_paused)
        pattern = {"urlPattern": "*", "resourceType": "Document", "requestStage": "Request"}
        # Passwords are refused one by one: left alone, Chromium shows an error, not the 401's page.
        self._session.on("Fetch.authRequired", self._on_auth_required)
        await self._session.send(
            "Fetch.enable", {"patterns": [pattern], "handleAuthRequests": True}
        )

    @property
    def main_frame(self) -> str:
        """The main frame's id in Chromium's protocol."""
        return self._main_frame

    def _on_paused(self, event: dict[str, Any]) -> None:
        self._tasks.start(self._decide(event), "navigation")

    def _on_auth_required(self, event: dict[str, Any]) -> None:
        self._tasks.start(self._cancel_auth(event["requestId"]), "auth")

    async def _cancel_auth(self, request_id: str) -> None:
        answer = {"requestId": request_id, "authChallengeResponse": {"response": "CancelAuth"}}
        with suppress(PlaywrightError):  # the page was closed
            await self._session.send("Fetch.continueWithAuth", answer)

    async def _decide(self, event: dict[str, Any]) -> None:
        method, parameters = "Fetch.continueRequest", {"requestId": event["requestId"]}
        await self._limit_storage(event["request"]["url"])
        if event["frameId"] == self._main_frame:
            url = self.last_url = event["request"]["url"]
            # Redirects keep the id of the navigation that they belong to.
            navigation = event.get("networkId") or event["requestId"].partition(".")[0]
            self._first_navigation = self._first_navigation or navigation
            reason = await self._refusal_reason(url)
            if reason is not None:
                self._refuse(url, reason, navigation == self._first_navigation)
                method, parameters["errorReason"] = "Fetch.failRequest", "Aborted"
        try:
            await self._session.send(method, parameters)
        except PlaywrightError:
            return  # another navigation replaced this one, or the page was closed

    async def _limit_storage(self, url: str) -> None:
        """Bound what the document's origin may store, before the document exists."""
        parts = urlsplit(url)
        if parts.scheme not in DEFAULT_PORTS:
            return
        quota = {
            "origin": f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
            "quotaSize": STORAGE_QUOTA,
        }
        with suppress(PlaywrightError):  # the page was closed
            await self._session.send("Storage.overrideQuotaForOrigin", quota)

    def _refuse(self, url: str, reason: str, is_first: bool) -> None:
        if len(self.refused) < MAX_REFUSED:
            self.refused.append((url, reason))
        (self.blocked if is_first else self.canceled).set()

    async def _refusal_reason(self, url: str) -> str | None:
        scheme = urlsplit(url).scheme
        if scheme in _LOCAL_SCHEMES:
            return None
        if scheme not in DEFAULT_PORTS:
            return f"{scheme}: addresses are not opened"
        try:
            await self._proxy.authorize(*self._proxy.host_and_port(url))
        except UnreachableError as error:
            # A network failure is left to Chromium, which reports it with its own code.
            return error.reason if error.blocked else None
        return None
