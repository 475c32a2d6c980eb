"""Switch, the LLM router: chats, its state, and the calls that tune it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, Literal, TypeVar

import msgspec

from operator_svc.models import Json
from operator_svc.peers import chat_stream
from operator_svc.peers.base import SWITCH, CallPolicy, Peer, PeerRefusedError
from operator_svc.peers.breaker import Breaker
from operator_svc.peers.chat_stream import Dialect, Show
from operator_svc.peers.chat_types import Done, Part, Prompt, Reasoning, Text, ToolCallPart
from operator_svc.peers.dialect_openai import OpenAiDialect
from operator_svc.peers.dialect_vx11 import Vx11Dialect
from operator_svc.peers.read_coalescer import ReadCoalescer
from operator_svc.peers.upstream import upstream_of
from operator_svc.settings import Settings
from operator_svc.settings_checks import body_of

__all__ = ["Done", "Part", "Prompt", "Reasoning", "Switch", "Text", "ToolCallPart", "make_switch"]

T = TypeVar("T", bound=msgspec.Struct)

LOAD_TIMEOUT = 60.0
"""Seconds that loading a model may take."""
CONTROL_TIMEOUT = 5.0

Mode = Literal["ECO", "BALANCED", "HIGH-PERF", "CRITICAL"]


class Recorded(msgspec.Struct, frozen=True):
    """Answer to feedback."""

    status: str
    engine: str | None = None
    recorded: bool | None = None


class SwitchModel(msgspec.Struct, frozen=True):
    """A model that Switch or Hermes lists."""

    name: str
    category: str | None = None
    size_mb: float | None = None
    status: str | None = None


class Cli(msgspec.Struct, frozen=True):
    """A command line engine that Switch lists."""

    name: str
    bin_path: str | None = None
    available: bool | None = None
    updated_at: str | None = None
    cli_type: str | None = None


class ModelsAvailable(msgspec.Struct, frozen=True):
    """Switch's models; ``active`` and ``warm`` are names."""

    models: list[SwitchModel]
    active: str | None = None
    warm: str | None = None
    cli_registry: list[Cli] = []


class Provider(msgspec.Struct, frozen=True):
    """An engine that Switch can use."""

    name: str
    kind: str | None = None
    status: str | None = None
    rate_limit_daily: float | None = None


class Providers(msgspec.Struct, frozen=True):
    """All of Switch's engines."""

    providers: list[Provider]
    status: str = "ok"


class Context(msgspec.Struct, frozen=True):
    """Switch's mode, models and queue."""

    status: str = "ok"
    mode: str | None = None
    active_model: str | None = None
    warm_model: str | None = None
    queue_size: int | None = None
    token_required: bool | None = None


class ModeState(msgspec.Struct, frozen=True):
    """Answer to a control call."""

    status: str
    mode: str | None = None
    profile: Json = None


class Loaded(msgspec.Struct, frozen=True):
    """Answer to setting or loading a model."""

    status: str = "ok"
    active: str | None = None
    warm: str | None = None


class _OpenAiModel(msgspec.Struct):
    id: str


class _OpenAiModels(msgspec.Struct):
    data: list[_OpenAiModel]


def _show_nothing(_text: str) -> bool:
    return False


class Switch:
    """Client of Switch: chats, and the calls that tune it.

    Chats have a circuit breaker of their own: engines that fail must not shut out the calls
    that would choose other engines. With the ``openai`` dialect only chats and the list of models
    exist; all else is refused here as such a server would refuse it, with 404.
    """

    def __init__(
        self, chats: Peer, calls: Peer, dialect: Dialect, timeouts: chat_stream.Timeouts
    ) -> None:
        self.chats = chats
        self.calls = calls
        self._dialect = dialect
        self._timeouts = timeouts
        self._coalescer = ReadCoalescer()

    async def aclose(self) -> None:
        """Close all connections."""
        await self.chats.aclose()
        await self.calls.aclose()

    def chat(self, prompt: Prompt, show: Show = _show_nothing) -> AsyncGenerator[list[Part], None]:
        """Ask; yields a list of parts for each read, the last one ends with Done.

        Text that comes while the caller waits for the next list is given to ``show``, in the call
        of the event loop that brings it, and yielded where that returns False.
        To be used as ``async with aclosing(switch.chat(prompt)) as parts``: leaving it closes
        the call. All text in the parts is storable already (``protocol.text``).
        Raises ChatError: switch_error, switch_unavailable, switch_busy, switch_timeout,
        no_answer, content_filtered, and reply_too_large beyond what is read at once.
        """
        return chat_stream.stream(
            self.chats, self._dialect, prompt, self._timeouts, self._coalescer, show
        )

    async def record_result(
        self, engine: str, success: bool, latency_ms: float | None, tokens: int | None
    ) -> Recorded:
        """Tell Switch the result of a call to an engine."""
        body = {"engine": engine, "success": success, "latency_ms": latency_ms, "tokens": tokens}
        return await self._post("/switch/hermes/record_result", body, Recorded)

    async def models_available(self) -> ModelsAvailable:
        """The models that Switch can use."""
        if isinstance(self._dialect, OpenAiDialect):
            return await self._openai_models(self._dialect)
        return await self._get("/switch/models/available", ModelsAvailable)

    async def providers(self) -> Providers:
        """The engines that Switch can use."""
        return await self._get("/switch/providers", Providers)

    async def context(self) -> Context:
        """The mode and the models that Switch works with now."""
        return await self._get("/switch/context", Context)

    async def set_mode(self, mode: str) -> ModeState:
        """Change Switch's mode; raises PeerRefusedError where Switch refuses."""
        return await self._control({"action": "set_mode", "mode": mode})

    async def set_default_model(self, model_name: str) -> Loaded:
        """Change the model that Switch uses; raises PeerRefusedError (404) for an unknown one."""
        return await self._post(
            "/switch/admin/set_default_model",
            {"model_name": model_name},
            Loaded,
            within=LOAD_TIMEOUT,
        )

    async def preload_model(self, model_name: str) -> Loaded:
        """Load a model; raises PeerRefusedError (404) for an unknown one."""
        return await self._post(
            "/switch/admin/preload_model", {"model_name": model_name}, Loaded, within=LOAD_TIMEOUT
        )

    async def _control(self, body: dict[str, Any]) -> ModeState:
        return await self._post("/switch/control", body, ModeState)

    async def _get(self, path: str, answer: type[T]) -> T:
        self._check_dialect(path)
        return await self.calls.get(path, answer)

    async def _post(
        self, path: str, body: Json, answer: type[T], *, within: float = CONTROL_TIMEOUT
    ) -> T:
        self._check_dialect(path)
        return await self.calls.post(path, body, answer, within=within)

    def _check_dialect(self, path: str) -> None:
        if isinstance(self._dialect, OpenAiDialect):
            detail = f"an OpenAI-compatible server has no {path}"
            raise PeerRefusedError(SWITCH.error, detail, status=404)

    async def _openai_models(self, dialect: OpenAiDialect) -> ModelsAvailable:
        listing = await self.calls.get(dialect.models_path, _OpenAiModels)
        return ModelsAvailable([SwitchModel(model.id) for model in listing.data])


def make_switch(settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> Switch:
    """Switch at the address of ``settings``; ``clock`` is the circuit breakers'."""
    upstream = upstream_of(settings)
    extra = body_of(settings.switch_body)
    think_tags = settings.switch_think_tags == "on"
    dialect: Dialect
    if settings.switch_dialect == "openai":
        dialect = OpenAiDialect(settings.switch_model, extra, think_tags=think_tags)
    else:
        dialect = Vx11Dialect(extra, think_tags=think_tags)

    def peer(name: str) -> Peer:
        return Peer(
            "Switch",
            upstream.url,
            upstream.headers,
            failures=SWITCH,
            policy=CallPolicy(connect_timeout=settings.switch_connect_timeout),
            breaker=Breaker(name, SWITCH.unavailable, clock=clock),
        )

    timeouts = chat_stream.Timeouts(
        settings.switch_first_byte_timeout,
        settings.switch_idle_timeout,
        settings.switch_total_timeout,
    )
    return Switch(peer("switch"), peer("switch_calls"), dialect, timeouts)
