"""Switch: adjustments of its configuration, feedback on its engines, and their ranking."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from operator_svc.models import Json, SwitchAdjustment
from operator_svc.protocol import decoding
from operator_svc.protocol.ids import RowId, SessionId
from operator_svc.protocol.text import is_storable
from operator_svc.protocol.tool_calls import ErrorText, Milliseconds, Name
from operator_svc.protocol.views import view_of

MAX_CONFIG_BYTES = 32 * 1024
"""Maximum size of ``before_config`` and of ``after_config`` as JSON: each event repeats both."""
MODES = ("ECO", "BALANCED", "HIGH-PERF", "CRITICAL")
"""Modes that Switch's ``set_mode`` takes (its own list, read on the day of the audit)."""
APPLICABLE = ("mode", "default_model", "preload_model")
"""The fields of a configuration that Switch takes, in the order of applying."""
MAX_SETTING = 200
"""Characters of a mode or of a model's name."""
MAX_ENGINE = 200
"""Characters of an engine's name; a longer one is cut where an upstream gave it."""
Tokens = Annotated[int, Meta(ge=0, le=2**31)]
Config = dict[str, Any]


class AdjustmentBody(msgspec.Struct, frozen=True, kw_only=True):
    """An adjustment of Switch; ``before_config`` left out is read from Switch."""

    after_config: Config
    """The configuration that is to hold: ``mode``, ``default_model``, ``preload_model`` are
    applied."""
    reason: Annotated[str, Meta(min_length=1, max_length=2000)]
    """The reason, for people."""
    before_config: Config | None = None
    """The configuration that held before; read from Switch where it is left out."""
    session_id: SessionId | None = None
    """The session that it was made in."""
    message_id: RowId | None = None
    """The message that it was made for."""


class FeedbackBody(msgspec.Struct, frozen=True, kw_only=True):
    """Feedback on the engine of the reply ``message_id``: a second one replaces the first. Without
    a reply it needs the role ``operator``, and counts for ``engine``. The published UI says
    ``error_msg``. Feedback without a latency counts for the success rate alone."""

    engine: Name
    """The engine's name."""
    success: bool
    """True where the engine did what was asked."""
    latency_ms: Milliseconds | None = None
    """Milliseconds that the engine took."""
    tokens_used: Tokens | None = None
    """Tokens that the engine used."""
    error_message: ErrorText | None = None
    """The reason of a failure."""
    error_msg: ErrorText | None = None
    """The published UI's name for ``error_message``, which takes precedence."""
    session_id: SessionId | None = None
    """The session that it is about."""
    message_id: RowId | None = None
    """The reply that it is about."""


class AdjustmentView(msgspec.Struct, frozen=True, kw_only=True):
    """An adjustment of Switch. ``error`` is why it was not applied or reverted the last time."""

    id: int
    """The adjustment's id."""
    session_id: str | None
    """The session that it was made in."""
    message_id: int | None
    """The message that it was made for."""
    before_config: Json
    """The configuration that held before; what a revert sends."""
    after_config: Json
    """The configuration that is to hold; what applying sends."""
    reason: str
    """The reason, for people."""
    applied: bool
    """True while it is applied."""
    applied_at: datetime | None
    """The time at which it was last applied."""
    reverted_at: datetime | None
    """The time at which it was last reverted."""
    error: str | None
    """The reason why it was not applied or reverted the last time."""
    created_at: datetime
    """The time at which it was stored."""


class AdjustmentAnswer(AdjustmentView, frozen=True, kw_only=True):
    """An adjustment with what old clients read of it."""

    adjustment_id: int
    """The same as ``id``, for older clients."""
    status: Literal["ok"] = "ok"
    """Always ``ok``, for older clients."""


class AdjustmentList(msgspec.Struct, frozen=True):
    """A page of adjustments, newest first."""

    adjustments: list[AdjustmentView]
    """The adjustments, newest first."""
    next_cursor: str | None
    """The ``cursor`` that asks for the next page; null at the end."""


class FeedbackFact(msgspec.Struct, frozen=True, kw_only=True):
    """Feedback on an engine."""

    id: int
    """The feedback's id."""
    session_id: str | None
    """The session that it is about."""
    message_id: int | None
    """The reply that it is about."""
    engine: str
    """The engine's name."""
    success: bool
    """True where the engine did what was asked."""
    latency_ms: int | None
    """Milliseconds that the engine took."""
    tokens_used: int
    """Tokens that the engine used."""
    error_message: str | None
    """The reason of a failure."""
    forwarded_at: datetime | None
    """The time at which Switch received it."""
    created_at: datetime
    """The time at which it was stored."""


class FeedbackAnswer(FeedbackFact, frozen=True, kw_only=True):
    """Stored feedback. ``engine`` is the one that wrote the reply, whatever the body named;
    ``forwarded_at`` is null until Switch receives it, at most once per reply."""

    status: Literal["recorded"] = "recorded"
    """Always ``recorded``."""


class EngineView(msgspec.Struct, frozen=True, kw_only=True):
    """An engine and its feedback. Latencies are of successes only; null without any. ``score`` is
    from 0 to 1 (formula in docs/system.md)."""

    engine: str
    """The engine's name."""
    calls: int
    """Feedback that it has."""
    success_rate: float
    """The part of the calls that succeeded, from 0 to 1."""
    latency_p50_ms: float | None
    """The median latency, in milliseconds."""
    latency_p95_ms: float | None
    """The latency that 95 of 100 calls stay below, in milliseconds."""
    tokens: int
    """Tokens that it used in all."""
    score: float
    """Its rank's number, from 0 to 1; more is better."""


class Unknown(msgspec.Struct, frozen=True):
    """The reason why something is not known."""

    error: str
    """The error's code."""
    detail: str
    """The failure, for people."""


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """An adjustment that feedback speaks for: a body for ``POST /operator/switch/adjustment``.
    ``before_config`` is left out where Switch does not say what it uses."""

    before_config: Config | UnsetType = UNSET
    """The configuration that holds now."""
    after_config: Config
    """The configuration that is recommended."""
    reason: str
    """The reason, for people."""


class EngineRanking(msgspec.Struct, frozen=True):
    """Engines, best first, by the feedback of the last ``window`` seconds."""

    engines: list[EngineView]
    """The engines, best first."""
    recommend: Recommendation | None
    """The adjustment that is recommended; null where there is none."""
    recommend_error: Unknown | None
    """The reason why nothing can be recommended; null where it can."""
    window: int
    """Seconds of feedback that were counted."""


def adjustment_view(row: SwitchAdjustment) -> AdjustmentView:
    """An adjustment as clients see it."""
    return view_of(AdjustmentView, row)


def adjustment_answer(row: SwitchAdjustment) -> AdjustmentAnswer:
    """An adjustment as the answer to its POST."""
    return view_of(AdjustmentAnswer, row, adjustment_id=row.id)


def feedback_answer(fact: FeedbackFact) -> FeedbackAnswer:
    """Feedback as the answer to its POST."""
    return view_of(FeedbackAnswer, fact)


def check_adjustment(body: AdjustmentBody) -> None:
    """Raise OperatorError(validation_error) for a configuration that Switch cannot have."""
    decoding.check(_adjustment_faults(body))


def setting_or_none(value: str | None) -> str | None:
    """A setting as Switch says it, where an adjustment can have it; else None."""
    return value if value and len(value) <= MAX_SETTING and is_storable(value) else None


def _adjustment_faults(body: AdjustmentBody) -> Iterator[tuple[str, str]]:
    for name, config in (
        ("before_config", body.before_config),
        ("after_config", body.after_config),
    ):
        if config is None:
            continue
        yield from decoding.size_faults(name, config, MAX_CONFIG_BYTES)
        for key in APPLICABLE:
            value = config.get(key)
            if value is None:
                continue
            if not isinstance(value, str) or not 1 <= len(value) <= MAX_SETTING:
                yield f"{name}.{key}", f"it must be a text of 1 to {MAX_SETTING} characters"
            elif key == "mode" and value not in MODES:
                yield f"{name}.mode", f"it must be one of {', '.join(MODES)}"
