"""The service, put together: the only place where the parts meet."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import structlog
from aiohttp import web

from operator_svc import rest, tracing
from operator_svc.background import TaskOwner, forever
from operator_svc.bus import Bus, make_bus
from operator_svc.context import Services
from operator_svc.db import Database, connect, migrations
from operator_svc.peers.browser import make_browser
from operator_svc.peers.switch import Switch, make_switch
from operator_svc.peers.system_peers import make_system_peers
from operator_svc.rest.server.listener import Server
from operator_svc.services.auth import Tokens
from operator_svc.services.browser.runner import WorkerOptions
from operator_svc.services.browser.tasks import BrowserTasks
from operator_svc.services.browser.worker import BrowserWorker
from operator_svc.services.chat.chats import Chats
from operator_svc.services.chat.history import Histories
from operator_svc.services.chat.recovery import ReplyRecovery
from operator_svc.services.chat.reply_writer import ReplyWriter
from operator_svc.services.chat.tool_calls import ToolCalls
from operator_svc.services.drain import DrainState
from operator_svc.services.lease import Lease
from operator_svc.services.live.clients import ClientRegistry
from operator_svc.services.live.hub import SessionHub
from operator_svc.services.live.subscriptions import Subscriptions
from operator_svc.services.maintenance import Maintenance, purge_pages
from operator_svc.services.switch.adjustments import Adjustments
from operator_svc.services.switch.engine_ranking import EngineRankings
from operator_svc.services.switch.feedback import EngineFeedback
from operator_svc.services.switch.feedback_outbox import FORWARD_INTERVAL, FeedbackOutbox
from operator_svc.services.system.cached_views import System
from operator_svc.settings import Settings
from operator_svc.stores.browser_tasks import BrowserTaskStore
from operator_svc.stores.chat_keys import ChatKeyStore
from operator_svc.stores.events import EventStore
from operator_svc.stores.messages import MessageStore
from operator_svc.stores.pods import PodStore
from operator_svc.stores.reply_chunks import ReplyChunkStore
from operator_svc.stores.sessions import SessionStore
from operator_svc.stores.switch_adjustments import AdjustmentStore
from operator_svc.stores.switch_feedback import FeedbackStore
from operator_svc.stores.tool_calls import ToolCallStore
from operator_svc.ws import endpoint as websocket

log = structlog.get_logger(__name__)

YOUNG_OBJECTS = 10_000
"""New objects after which garbage is looked for; Python's own number is 700."""
PURGE_PAGE = 5000
"""Events that are deleted in one write."""


class Operator:
    """All parts of a running service, and what happens to them in which order."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.tasks = TaskOwner("operator")
        self.bus: Bus = make_bus(settings, database)
        self.switch: Switch = make_switch(settings)
        sessions, messages = SessionStore(database), MessageStore(database)
        chunks, events = ReplyChunkStore(database), EventStore(database)
        tool_calls = ToolCallStore(database)
        self.hub = SessionHub(sessions, messages, events, chunks, self.bus, self.tasks)
        self.lease = Lease(PodStore(database), ttl=settings.lease_ttl, shared=self.bus.shared)
        self.reply_writer = ReplyWriter(
            self.switch,
            messages,
            chunks,
            self.hub,
            self.lease,
            self.tasks,
            auto_feedback=settings.auto_feedback == "on",
        )
        histories = Histories(sessions, messages, chunks, tool_calls, events)
        self.drain_state = DrainState()
        self.chats = Chats(
            sessions,
            messages,
            ChatKeyStore(database),
            histories,
            self.reply_writer,
            self.hub,
            self.lease,
            self.drain_state,
            history_messages=settings.history_messages,
            history_chars=settings.history_chars,
            chat_rate=settings.chat_rate,
        )
        self.browser_tasks = self._make_browser_tasks()
        self.tool_calls = ToolCalls(tool_calls, messages, self.hub)
        self.reply_writer.tool_calls = self.tool_calls
        self._make_switch_records(messages)
        self.system = self._make_system()
        recovery = ReplyRecovery(messages, self.reply_writer, self.hub, self.lease)
        self.maintenance = Maintenance(
            self.lease,
            sweeps=(
                recovery.sweep,
                self.browser_tasks.reclaimer.sweep,
                self.adjustments.release_orphaned,
                self.feedback_outbox.release_orphaned,
            ),
            purges=(
                partial(purge_pages, partial(events.purge, settings.event_retention), PURGE_PAGE),
                chunks.purge,
                self.browser_tasks.reclaimer.purge,
            ),
            polls=(self._poll,),
        )
        self.tokens = Tokens(settings)
        self.services = Services(
            settings=settings,
            database=database,
            tasks=self.tasks,
            drain=self.drain_state,
            tokens=self.tokens,
            chats=self.chats,
            histories=histories,
            reply_writer=self.reply_writer,
            hub=self.hub,
            subscriptions=Subscriptions(self.hub, events, histories, settings.resume_limit),
            clients=ClientRegistry(self.tasks, settings),
            browser_tasks=self.browser_tasks,
            tool_calls=self.tool_calls,
            adjustments=self.adjustments,
            feedback=self.feedback,
            engine_rankings=self.engine_rankings,
            system=self.system,
        )
        self._others_acted = asyncio.Event()

    def _make_browser_tasks(self) -> BrowserTasks:
        store = BrowserTaskStore(self.database)
        self.browser = make_browser(self.settings)
        worker = None
        if self.browser is not None:
            worker = BrowserWorker(
                store,
                self.browser,
                self.hub,
                self.lease,
                self.drain_state,
                WorkerOptions(shared=self.bus.shared, pages=self.settings.browser_tasks),
            )
        retention = self.settings.screenshot_retention
        return BrowserTasks(
            store, worker, self.hub, self.lease, self.drain_state, screenshot_retention=retention
        )

    def _make_switch_records(self, messages: MessageStore) -> None:
        self.adjustments = Adjustments(
            self.switch, AdjustmentStore(self.database), messages, self.hub, self.tasks, self.lease
        )
        store = FeedbackStore(self.database)
        self.engine_rankings = EngineRankings(self.switch, store, self.tasks)
        self.feedback = EngineFeedback(store, messages, self.hub, self.engine_rankings)
        self.feedback_outbox = FeedbackOutbox(self.switch, store, self.lease)

    def _make_system(self) -> System:
        self.peers = make_system_peers(self.settings)
        return System(self.peers, self.switch, self.database, self.tasks)

    @classmethod
    async def open(cls, settings: Settings) -> Operator:
        """Migrate where allowed, connect, and begin all that runs by itself.

        Raises ConfigurationError, and OperatorError(database_unavailable).
        """
        if settings.otel == "on":
            tracing.start()
        await migrations.ensure(settings)
        database = await connect(settings)
        try:
            operator = cls(settings, database)
        except BaseException:
            # A fault of the settings; open connections would keep the process alive.
            await database.aclose()
            raise
        try:
            await operator._start()
        except BaseException:
            await operator.aclose()
            raise
        return operator

    async def _start(self) -> None:
        await self.bus.open(self._news)
        await self.maintenance.begin()
        self.hub.start()
        self.browser_tasks.start()
        every = self.settings.tick
        self.maintenance.start(self.tasks)
        self.tasks.start(forever(self._tick, every, "tick"), "tick")
        forwarding = forever(self.feedback_outbox.forward, FORWARD_INTERVAL, "feedback")
        self.tasks.start(forwarding, "feedback")
        if self.bus.shared:
            self.tasks.start(self._look_around(), "look-around")

    def application(self) -> web.Application:
        """The handlers, over these parts."""
        return rest.application(self.services, websocket.route)

    # What runs by itself.

    async def _tick(self) -> None:
        try:
            await self.reply_writer.store_text()
        finally:
            await self.bus.flush()

    def _poll(self) -> None:
        if self.hub.watched:
            self.hub.poll()
        self._others_acted.set()

    def _news(self, session_ids: Collection[str] | None) -> None:
        self.hub.heard(session_ids)
        if session_ids is None or not self.reply_writer.sessions().isdisjoint(session_ids):
            self._others_acted.set()

    async def _look_around(self) -> None:
        while True:
            await self._others_acted.wait()
            self._others_acted.clear()
            try:
                await self.reply_writer.look_around()
            except Exception as error:  # the next poll asks again
                log.warning("own replies could not be read", exc_info=error)

    # The end.

    async def drain(self) -> None:
        """Take no new chats, and let running replies end until the deadline."""
        self.drain_state.begin()
        deadline = self.settings.drain_timeout
        log.info("draining", replies=len(self.reply_writer), seconds=deadline)
        sockets = asyncio.ensure_future(self.services.clients.drain(deadline))
        pages = asyncio.ensure_future(self.browser_tasks.drain(deadline))
        try:
            async with asyncio.timeout(deadline):
                await self.reply_writer.idle()
        except TimeoutError:
            log.warning("replies interrupted by the end", replies=len(self.reply_writer))
            self.reply_writer.interrupt_all()
            await self.reply_writer.idle()
        await pages
        await sockets

    async def aclose(self) -> None:
        """End everything; the database last."""
        self.reply_writer.interrupt_all()
        try:
            async with asyncio.timeout(self.settings.db_timeout):
                await self.reply_writer.idle()
        except TimeoutError:
            log.error("replies could not be stored at the end", replies=len(self.reply_writer))
        await self.browser_tasks.aclose(self.settings.db_timeout)
        await self.feedback_outbox.close(self.settings.db_timeout)
        await self.tasks.aclose()
        try:
            await self.bus.aclose()
            await self.lease.release()
        except Exception as error:  # the lease runs out by itself
            log.warning("the lease could not be given up", exc_info=error)
        await self.switch.aclose()
        await self.peers.aclose()
        if self.browser is not None:
            await self.browser.aclose()
        await self.database.aclose()
        await asyncio.to_thread(tracing.stop)


async def serve(settings: Settings, ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends at once.

    ``ready`` is called with the address once connections are accepted.
    """
    operator = await Operator.open(settings)
    server = Server(operator.application(), settings)
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def signalled() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    loop.add_signal_handler(signal.SIGHUP, operator.tokens.reload)
    try:
        url = await server.start()
        _spare_the_collector()
        log.info("ready", url=url)
        if ready is not None:
            ready(url)
        await stop.wait()
        await _first(operator.drain(), hurry.wait())
        await _first(server.close(), hurry.wait())
    finally:
        await _first(operator.aclose(), hurry.wait())


def _spare_the_collector() -> None:
    """What the start has made stays for good, and need not be searched for cycles again; and
    a request makes few of them, so it is searched less often. A tenth of a chat's CPU."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)


async def _first(*works: Any) -> None:
    """Wait for the first of ``works`` to end, and cancel the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
