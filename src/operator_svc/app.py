"""Puts the service together: the only place where all parts meet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from operator_svc import rest, telemetry
from operator_svc.background import TaskOwner
from operator_svc.bus import Bus, make_bus
from operator_svc.context import Services
from operator_svc.db import Database, Replica, replica
from operator_svc.peers.all_peers import Peers, make_peers
from operator_svc.services.auth import Authenticator, SignedTokens, Tokens
from operator_svc.services.browser.runner import WorkerOptions
from operator_svc.services.browser.tasks import BrowserTasks
from operator_svc.services.browser.worker import BrowserWorker
from operator_svc.services.byte_budget import ByteBudget
from operator_svc.services.chat.chats import ChatLimits, Chats
from operator_svc.services.chat.conversation import Conversations
from operator_svc.services.chat.foreground import Foreground
from operator_svc.services.chat.history import SessionHistory
from operator_svc.services.chat.models import Models
from operator_svc.services.chat.prompt import HistoryLimits
from operator_svc.services.chat.recovery import ReplyRecovery
from operator_svc.services.chat.replies import Replies
from operator_svc.services.chat.reply_follower import ReplyFollower
from operator_svc.services.chat.reply_storage import ReplyStorage
from operator_svc.services.chat.reply_writer import ReplyWriter
from operator_svc.services.chat.running_replies import RunningReplies
from operator_svc.services.chat.session_deletion import SessionDeletion
from operator_svc.services.chat.sessions import Sessions
from operator_svc.services.chat.tool_calls import ToolCalls
from operator_svc.services.chat.upstream import ChatPeer, UpstreamReader
from operator_svc.services.drain import DrainState
from operator_svc.services.event_retention import PURGE_PAGE, purge_events
from operator_svc.services.lease import LEASE_CONNECTIONS, LEASE_SECONDS, Lease
from operator_svc.services.live.clients import ClientRegistry
from operator_svc.services.live.feed_reader import FeedReader
from operator_svc.services.live.hub import SessionHub
from operator_svc.services.live.subscriptions import Subscriptions
from operator_svc.services.maintenance import Maintenance
from operator_svc.services.retry import purge_pages
from operator_svc.services.search_indexer import SearchIndexer
from operator_svc.services.switch.adjustments import Adjustments
from operator_svc.services.switch.engine_ranking import EngineRankings
from operator_svc.services.switch.feedback import EngineFeedback
from operator_svc.services.switch.feedback_counter import FeedbackCounter, purge_feedback_hours
from operator_svc.services.switch.feedback_outbox import FeedbackOutbox
from operator_svc.services.system.cached_views import System
from operator_svc.services.usage import UsageReports
from operator_svc.settings import Settings
from operator_svc.stores.all_stores import Stores
from operator_svc.stores.read_sources import ReadSources
from operator_svc.stores.retention import Kind
from operator_svc.ws import endpoint as websocket


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The parts that the use cases share."""

    settings: Settings
    database: Database
    replica: Replica | None
    stores: Stores
    peers: Peers
    bus: Bus
    tasks: TaskOwner
    drain: DrainState
    lease: Lease
    running: RunningReplies
    feed_reader: FeedReader
    hub: SessionHub


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """The parts of one process; ``lifecycle`` starts and ends them."""

    core: Core
    reply_writer: ReplyWriter
    feedback_outbox: FeedbackOutbox
    feedback_counter: FeedbackCounter
    search_indexer: SearchIndexer
    session_deletion: SessionDeletion
    maintenance: Maintenance
    services: Services

    def application(self) -> web.Application:
        """The handlers, over the services."""
        return rest.application(self.services, websocket.route)


def build(settings: Settings, database: Database, *, switch: ChatPeer | None = None) -> Operator:
    """Put the parts together; nothing runs yet.

    ``switch`` answers chats in place of the Switch of ``settings``. Raises ConfigurationError.
    """
    core = _core(settings, database)
    stores, hub = core.stores, core.hub
    tool_calls = ToolCalls(stores.tool_calls, stores.messages, hub)
    writer = ReplyWriter(
        UpstreamReader(switch or core.peers.switch, tool_calls),
        ReplyStorage(
            stores.messages,
            stores.chunks,
            core.lease,
            auto_feedback=settings.auto_feedback == "on",
            forward_feedback=settings.forward_feedback == "all",
        ),
        core.running,
        hub,
        core.lease,
        core.tasks,
    )
    deletion = SessionDeletion(stores.sessions, writer, hub)
    services = _services(core, writer, tool_calls, deletion)
    outbox = FeedbackOutbox(core.peers.switch, stores.feedback, core.lease)
    return Operator(
        core=core,
        reply_writer=writer,
        feedback_outbox=outbox,
        feedback_counter=FeedbackCounter(stores.feedback_hours),
        search_indexer=SearchIndexer(stores.search_index),
        session_deletion=deletion,
        maintenance=_maintenance(core, writer, services, outbox, deletion),
        services=services,
    )


def _core(settings: Settings, database: Database) -> Core:
    stores = Stores(database, database.reserve(LEASE_CONNECTIONS, LEASE_SECONDS))
    tasks = TaskOwner("operator")
    bus = make_bus(settings, database)
    running = RunningReplies()
    reader = FeedReader(stores.sessions, stores.messages, stores.events, stores.chunks)
    hub = SessionHub(reader, running, bus, tasks)
    database.on_new_history(hub.invalidate_all)
    return Core(
        settings=settings,
        database=database,
        replica=replica(settings, database),
        stores=stores,
        peers=make_peers(settings),
        bus=bus,
        tasks=tasks,
        drain=DrainState(),
        lease=Lease(
            stores.pods, ttl=settings.lease_ttl, shared=bus.shared, backend=lambda: bus.backend
        ),
        running=running,
        feed_reader=reader,
        hub=hub,
    )


def _services(
    core: Core, writer: ReplyWriter, tool_calls: ToolCalls, deletion: SessionDeletion
) -> Services:
    settings, stores, hub = core.settings, core.stores, core.hub
    switch, tasks, drain = core.peers.switch, core.tasks, core.drain
    think_tags = settings.switch_think_tags == "on"
    limits = ChatLimits(
        HistoryLimits(settings.history_messages, settings.history_chars, think_tags),
        settings.chat_rate,
        settings.replies_per_token,
    )
    sources = ReadSources(core.database, core.replica)
    sessions = Sessions(stores.sessions, sources, deletion)
    history = SessionHistory(sessions, sources, stores.messages, stores.chunks, stores.events)
    follower = ReplyFollower(hub, stores.events, stores.messages, stores.sessions)
    rankings = EngineRankings(switch, stores.feedback_hours, tasks)
    clients = ClientRegistry(tasks, settings)
    tokens = Tokens(settings, clients.close_revoked, _signed_tokens(settings, tasks))
    chats = Chats(stores.messages, stores.chat_keys, writer, hub, limits, drain)
    replies = Replies(core.running, follower, history, stores.messages, stores.chat_keys, hub)
    budget = ByteBudget(settings.bytes_in_flight)
    telemetry.BYTES_IN_FLIGHT.set_function(lambda: budget.held)
    return Services(
        settings=settings,
        database=core.database,
        bus=core.bus,
        tasks=tasks,
        drain=drain,
        tokens=tokens,
        authenticator=Authenticator(tokens, settings),
        chats=chats,
        conversations=Conversations(
            stores.conversations, stores.chat_keys, stores.session_keys, chats.quota, hub, drain
        ),
        replies=replies,
        foreground=Foreground(
            chats, replies, sessions, stores.messages, tasks, core.settings.disconnect_grace
        ),
        models=Models(switch, tasks),
        sessions=sessions,
        history=history,
        tool_calls=tool_calls,
        subscriptions=Subscriptions(hub, stores.events, history, settings.resume_limit),
        byte_budget=budget,
        clients=clients,
        browser_tasks=_browser_tasks(core),
        adjustments=Adjustments(
            switch, stores.adjustments, stores.messages, hub, tasks, core.lease
        ),
        feedback=EngineFeedback(stores.feedback, stores.messages, hub, rankings),
        engine_rankings=rankings,
        system=System(core.peers.system, switch, core.database, tasks),
        usage=UsageReports(stores.usage),
    )


def _signed_tokens(settings: Settings, tasks: TaskOwner) -> SignedTokens | None:
    """The signed tokens of the settings' issuer; what they need is imported where there is one."""
    if not (settings.jwks_url or settings.jwks_file):
        return None
    from operator_svc.services import jwt_verifier

    return jwt_verifier.make(settings, tasks)


def _browser_tasks(core: Core) -> BrowserTasks:
    store, browser = core.stores.browser_tasks, core.peers.browser
    worker = None
    if browser is not None:
        worker = BrowserWorker(
            store,
            browser,
            core.hub,
            core.lease,
            core.drain,
            WorkerOptions(
                shared=core.bus.shared,
                pages=core.settings.browser_tasks,
                pages_per_user=core.settings.browser_tasks_per_user,
            ),
        )
    return BrowserTasks(
        store,
        worker,
        core.hub,
        core.lease,
        core.drain,
        screenshot_retention=core.settings.screenshot_retention,
    )


def _maintenance(
    core: Core,
    writer: ReplyWriter,
    services: Services,
    outbox: FeedbackOutbox,
    deletion: SessionDeletion,
) -> Maintenance:
    stores = core.stores
    recovery = ReplyRecovery(stores.messages, core.running, core.hub, core.lease)
    return Maintenance(
        core.lease,
        sweeps=(
            recovery.sweep,
            services.browser_tasks.reclaimer.sweep,
            services.adjustments.release_orphaned,
            outbox.release_orphaned,
        ),
        on_death=(recovery.take_over,),
        purges=(
            partial(purge_events, stores.events, core.settings.event_retention),
            stores.chunks.purge,
            services.browser_tasks.reclaimer.purge,
            partial(purge_feedback_hours, stores.feedback_hours),
            services.usage.purge,
            *_retention(core, deletion),
        ),
        polls=(core.hub.poll, writer.poll),
    )


def _retention(core: Core, deletion: SessionDeletion) -> list[Callable[[], Awaitable[None]]]:
    """The purges of rows with a limited retention."""
    settings, purge = core.settings, core.stores.retention.purge
    days: dict[Kind, float] = {
        "chat_keys": settings.key_retention,
        "feedback": settings.feedback_retention,
        "tool_calls": settings.tool_call_retention,
        "browser_tasks": settings.task_retention,
    }
    purges: list[Callable[[], Awaitable[None]]] = [
        partial(purge_pages, partial(purge, kind, kept), PURGE_PAGE)
        for kind, kept in days.items()
        if kept
    ]
    if settings.message_retention:
        purges.append(partial(deletion.expire, settings.message_retention))
    return purges
