"""The life of a process: start, ready, drain, close, and the signals that lead from one on."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Callable
from typing import Any

import structlog

from operator_svc import tracing
from operator_svc.app import Operator, build
from operator_svc.background import forever
from operator_svc.db import migrations
from operator_svc.rest.server.listener import Server
from operator_svc.services.auth import EXPIRY_INTERVAL
from operator_svc.services.chat.session_deletion import DELETION_INTERVAL
from operator_svc.services.chat.upstream import ChatPeer
from operator_svc.services.search_indexer import INDEX_INTERVAL
from operator_svc.services.switch.feedback_counter import COUNT_INTERVAL
from operator_svc.services.switch.feedback_outbox import FORWARD_INTERVAL
from operator_svc.services.usage import COUNT_INTERVAL as USAGE_INTERVAL
from operator_svc.settings import Settings

log = structlog.get_logger(__name__)

HISTORY_INTERVAL, LONE_HISTORY_INTERVAL = 1.0, 15.0
"""Seconds between looks whether the database was switched over behind open connections, and
between notes that it is in use where no other process can be."""
SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread hands the interpreter over to one that waits for it. With Python's
own 5 ms the event loop waits as long after each call of the system while a thread has work, such
as SQLite's, and so does the admin port."""


async def start(settings: Settings, *, switch: ChatPeer | None = None) -> Operator:
    """Migrate where allowed, connect, build, and begin all that runs by itself.

    ``switch`` answers chats in place of the Switch of ``settings``. Raises ConfigurationError,
    and OperatorError(database_unavailable).
    """
    if settings.otel == "on":
        tracing.start()
    database = await migrations.connect_up_to_date(settings)
    try:
        operator = build(settings, database, switch=switch)
    except BaseException:
        # A fault of the settings; open connections would keep the process alive.
        await database.aclose()
        raise
    try:
        await _begin(operator)
    except BaseException:
        await close(operator)
        raise
    return operator


async def _begin(operator: Operator) -> None:
    core, services = operator.core, operator.services
    await core.database.check_history()
    await core.bus.open(
        core.hub.on_notification,
        operator.reply_writer.on_notification,
        on_piece=core.hub.on_piece,
    )
    await operator.maintenance.begin()
    if services.tokens.signed is not None:
        core.tasks.start(services.tokens.signed.keep_fresh(), "jwt-keys")
        expiring = forever(services.tokens.end_expired, EXPIRY_INTERVAL, "token-expiry")
        core.tasks.start(expiring, "token-expiry")
    core.hub.start()
    settings = core.settings
    operator.reply_writer.start(
        settings.tick, lambda: settings.text_interval(bus_degraded=core.bus.degraded)
    )
    services.browser_tasks.start()
    operator.maintenance.start(core.tasks)
    interval = HISTORY_INTERVAL if core.bus.shared else LONE_HISTORY_INTERVAL
    for name, step, every in (
        ("history", core.database.check_history, interval),
        ("feedback", operator.feedback_outbox.forward, FORWARD_INTERVAL),
        ("feedback-hours", operator.feedback_counter.run, COUNT_INTERVAL),
        ("usage", services.usage.count, USAGE_INTERVAL),
        ("search-index", operator.search_indexer.run, INDEX_INTERVAL),
        ("session-deletion", operator.session_deletion.run, DELETION_INTERVAL),
    ):
        core.tasks.start(forever(step, every, name), name)


async def drain(operator: Operator) -> None:
    """Take nothing new, and let replies and browser tasks end until the deadline."""
    core, services = operator.core, operator.services
    core.drain.begin()
    deadline = core.settings.drain_timeout
    log.info("draining", replies=len(core.running), seconds=deadline)
    clients = asyncio.ensure_future(services.clients.drain(deadline))
    pages = asyncio.ensure_future(services.browser_tasks.drain(deadline))
    try:
        async with asyncio.timeout(deadline):
            await core.running.wait_empty()
    except TimeoutError:
        log.warning("replies interrupted by shutdown", replies=len(core.running))
        await _interrupt_replies(operator)
    await pages
    await clients


async def _interrupt_replies(operator: Operator) -> None:
    """End the replies that still run. Those whose end the database does not take in time are left
    to the process that finds them without an owner."""
    running, writer = operator.core.running, operator.reply_writer
    writer.interrupt_all()
    try:
        async with asyncio.timeout(operator.core.settings.db_timeout):
            await running.wait_empty()
    except TimeoutError:
        log.error("replies not stored at shutdown", replies=len(running))
        writer.abandon_all()


async def close(operator: Operator) -> None:
    """End everything; the database last."""
    core, services = operator.core, operator.services
    core.drain.begin()
    within = core.settings.db_timeout
    await _interrupt_replies(operator)
    await services.browser_tasks.aclose(within)
    await operator.feedback_outbox.close(within)
    await core.tasks.aclose()
    try:
        await core.bus.aclose()
        await core.lease.release()
    except Exception as error:  # the lease runs out by itself
        log.warning("lease not released", exc_info=error)
    await core.peers.aclose()
    if core.replica is not None:
        await core.replica.aclose()
    await core.database.aclose()
    await asyncio.to_thread(tracing.stop)


async def serve(settings: Settings, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends at once. One of several
    workers is ended at once by SIGINT alone.

    ``on_ready`` is called with the address once connections are accepted.
    """
    operator = await start(settings)
    server = Server(operator.application(), settings)
    stop, force_exit = asyncio.Event(), asyncio.Event()
    _handle_signals(operator, stop, force_exit)
    try:
        url = await server.start()
        _tune_interpreter()
        log.info("ready", url=url)
        if on_ready is not None:
            on_ready(url)
        await stop.wait()
        await _first(drain(operator), force_exit.wait())
        await _first(server.close(), force_exit.wait())
    finally:
        await _first(close(operator), force_exit.wait())


def _handle_signals(operator: Operator, stop: asyncio.Event, force_exit: asyncio.Event) -> None:
    # A worker may have SIGTERM twice as one: of who ends all processes of a service, as systemd
    # does, and of its supervisor.
    repeatable = {signal.SIGTERM} if operator.core.settings.workers > 1 else set()

    def on_signal(number: signal.Signals) -> None:
        if not stop.is_set():
            stop.set()
        elif number not in repeatable:
            force_exit.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    loop.add_signal_handler(signal.SIGHUP, operator.services.tokens.reload)
    # One that came while this process started has waited until now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def _tune_interpreter() -> None:
    """Spare the collector what the start has made, which stays for good. With that it collects less
    often (``cli.YOUNG_OBJECTS``) this is a tenth of a chat's processor time."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.collect()
    gc.freeze()


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
