"""Pods that share a database, with a Switch whose configuration and faults a test chooses.

``switch``, ``pod`` and ``local`` are fixtures, for the folders whose conftest names them.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from operator_svc.background import TaskOwner
from operator_svc.bus import LocalBus
from operator_svc.db import Database
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller
from operator_svc.peers.switch import (
    Context,
    Loaded,
    ModelsAvailable,
    ModeState,
    Recorded,
    SwitchModel,
)
from operator_svc.services.chat.tool_calls import ToolCalls
from operator_svc.services.switch.adjustments import Adjustments
from operator_svc.services.switch.engine_ranking import EngineRankings
from operator_svc.services.switch.feedback import EngineFeedback
from operator_svc.services.switch.feedback_counter import FeedbackCounter
from operator_svc.services.switch.feedback_outbox import FeedbackOutbox
from operator_svc.stores.events import EventRow, EventStore
from operator_svc.stores.feedback_hours import FeedbackHourStore
from operator_svc.stores.message_rows import Started
from operator_svc.stores.messages import MessageStore
from operator_svc.stores.pods import PodStore
from operator_svc.stores.switch_adjustments import AdjustmentStore
from operator_svc.stores.switch_feedback import FeedbackStore
from operator_svc.stores.tool_calls import ToolCallStore
from tests.fakes.hubs import hub_over
from tests.fakes.switch_faults import Fault, refused

ANYBODY = Caller("tests")
MODELS = ("small", "large", "huge")


class FakeSwitch:
    """A Switch with a configuration. ``faults`` has for a call (by name) what happens the next
    times, None for nothing; ``after`` the same for what happens once the call took effect."""

    def __init__(self) -> None:
        self.mode: str | None = "BALANCED"
        self.active: str | None = "small"
        self.warm: str | None = None
        self.calls: list[tuple[Any, ...]] = []
        self.faults: dict[str, list[Fault | None]] = {}
        self.after: dict[str, list[Fault | None]] = {}
        self.lies = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.recorded: list[tuple[str, bool, float | None, int | None]] = []

    @property
    def config(self) -> tuple[str | None, str | None, str | None]:
        """Mode, default model and loaded model."""
        return self.mode, self.active, self.warm

    @property
    def changes(self) -> list[tuple[Any, ...]]:
        """The calls that were to change something."""
        return [call for call in self.calls if call[0] not in ("context", "models_available")]

    async def _called(self, name: str, *args: Any) -> None:
        self.calls.append((name, *args))
        await self.gate.wait()
        _next(self.faults, name)

    async def context(self) -> Context:
        await self._called("context")
        return Context(mode=self.mode, active_model=self.active, warm_model=self.warm)

    async def set_mode(self, mode: str) -> ModeState:
        await self._called("set_mode", mode)
        if not self.lies:
            self.mode = mode
        _next(self.after, "set_mode")
        return ModeState("ok", mode)

    async def set_default_model(self, model_name: str) -> Loaded:
        await self._change("set_default_model", "active", model_name)
        return Loaded("ok", model_name, self.warm)

    async def preload_model(self, model_name: str) -> Loaded:
        await self._change("preload_model", "warm", model_name)
        return Loaded("ok", self.active, model_name)

    async def _change(self, call: str, what: Literal["active", "warm"], model_name: str) -> None:
        await self._called(call, model_name)
        if model_name not in MODELS:
            refused(404)()
        if not self.lies:
            setattr(self, what, model_name)
        _next(self.after, call)

    async def models_available(self) -> ModelsAvailable:
        await self._called("models_available")
        return ModelsAvailable([SwitchModel(name) for name in MODELS], self.active, self.warm)

    async def record_result(
        self, engine: str, success: bool, latency_ms: float | None, tokens: int | None
    ) -> Recorded:
        await self._called("record_result", engine)
        self.recorded.append((engine, success, latency_ms, tokens))
        _next(self.after, "record_result")
        return Recorded("ok", engine, True)


def _next(faults: dict[str, list[Fault | None]], name: str) -> None:
    waiting = faults.get(name)
    if waiting and (fault := waiting.pop(0)) is not None:
        fault()


class QuietBus(LocalBus):
    """A bus that nobody hears."""

    def __init__(self) -> None:
        self.announced: list[str] = []

    def notify(self, session_id: str) -> None:
        self.announced.append(session_id)


class Pod:
    """The services for records of one process, which has its lease."""

    def __init__(self, database: Database, switch: FakeSwitch, pod_id: str) -> None:
        self.database = database
        self.pod_id = pod_id
        self.tasks = TaskOwner(pod_id)
        self.bus = QuietBus()
        self.messages = MessageStore(database)
        self.events = EventStore(database)
        self.hub = hub_over(database, self.tasks, self.bus)
        self.adjustment_store = AdjustmentStore(database)
        self.feedback_store = FeedbackStore(database)
        self.feedback_hours = FeedbackHourStore(database)
        self.counter = FeedbackCounter(self.feedback_hours)
        self.tool_call_store = ToolCallStore(database)
        self.tool_calls = ToolCalls(self.tool_call_store, self.messages, self.hub)
        self.adjustments = Adjustments(
            switch, self.adjustment_store, self.messages, self.hub, self.tasks, self
        )
        self.rankings = EngineRankings(switch, self.feedback_hours, self.tasks)
        self.feedback = EngineFeedback(self.feedback_store, self.messages, self.hub, self.rankings)
        self.outbox = FeedbackOutbox(switch, self.feedback_store, self)

    async def chat(self, session_id: str = "s-1", user_id: str = "ann") -> Started:
        """A session with a message and a reply; its last event is number 3."""
        started = await self.messages.start_new(
            session_id=session_id, epoch=str(uuid.uuid4()), user_id=user_id, source="api",
            content="hello", metadata={}, pod_id="writer", key=None,
        )  # fmt: skip
        assert started is not None
        return started

    async def log(self, session_id: str = "s-1") -> list[EventRow]:
        """The events of a session after those that ``chat`` makes."""
        return (await self.events.after(session_id, 3, 100)).rows


async def lease(database: Database, pod_id: str, seconds: float = 60.0) -> None:
    """A lease beside others, on SQLite too; over where ``seconds`` are less than 0."""
    now = "now() + make_interval(secs => :s)" if database.dialect == "postgresql" else "now(:s)"
    async with database.transaction() as tx:
        await tx.execute(
            "INSERT INTO operator_pod (pod_id, started_at, lease_until)"
            f" VALUES (:p, {now}, {now})",
            p=pod_id, s=seconds,
        )  # fmt: skip


@asynccontextmanager
async def pods(
    database: Database, switch: FakeSwitch, *names: str
) -> AsyncIterator[tuple[Pod, ...]]:
    """Pods with a lease each, that share a database and a Switch."""
    made = []
    for name in names or ("pod-1",):
        await lease(database, name)
        made.append(Pod(database, switch, name))
    try:
        yield tuple(made)
    finally:
        for pod in made:
            await pod.tasks.aclose()


async def die(pod: Pod) -> None:
    """End a pod as SIGKILL would, once its lease has run out."""
    await pod.tasks.aclose()
    await PodStore(pod.database).remove(pod.pod_id)


@pytest.fixture
def switch() -> FakeSwitch:
    """A Switch that takes everything."""
    return FakeSwitch()


@pytest.fixture
async def pod(database: Database, switch: FakeSwitch) -> AsyncIterator[Pod]:
    """A pod, on each engine."""
    async with pods(database, switch) as (one,):
        yield one


@pytest.fixture
async def local(sqlite_database: Database, switch: FakeSwitch) -> AsyncIterator[Pod]:
    """A pod on SQLite, for what does not depend on the engine."""
    async with pods(sqlite_database, switch) as (one,):
        yield one


class Outage:
    """A store's write during an outage of the database: the first call does nothing, the second
    one is stored and its answer lost, and from the third on it works."""

    def __init__(self, write: Callable[..., Awaitable[Any]]) -> None:
        self._write = write
        self.tries = 0

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.tries += 1
        if self.tries == 2:
            await self._write(*args, **kwargs)
        if self.tries <= 2:
            raise OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "away")
        return await self._write(*args, **kwargs)
