"""Ranks engines by their feedback, and recommends an adjustment of Switch."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Protocol

from msgspec import UNSET

from operator_svc.background import TaskOwner
from operator_svc.errors import OperatorError
from operator_svc.peers.switch import ModelsAvailable
from operator_svc.protocol.switch import (
    EngineRanking,
    EngineView,
    Recommendation,
    Unknown,
    setting_or_none,
)
from operator_svc.services.ttl_cache import TTL, CacheHit, TtlCache
from operator_svc.stores.feedback_hours import EngineStats, FeedbackHourStore

ENGINES = 200
"""Engines of a ranking at most, those with most calls."""
WINDOWS = 16
"""Rankings of different windows that are kept at once."""
Z = 1.96
"""Standard deviations of a 95 % confidence interval of the success rate."""
HALF_SPEED_MS = 5000.0
"""Latency that halves a score."""


class ListsModels(Protocol):
    """Switch, as far as a recommendation needs it."""

    async def models_available(self) -> ModelsAvailable:
        """The models that Switch can use."""


class EngineRankings:
    """Rankings by window, each kept for a moment."""

    def __init__(
        self, switch: ListsModels, store: FeedbackHourStore, tasks: TaskOwner, *, ttl: float = TTL
    ) -> None:
        self._switch = switch
        self._store = store
        self._tasks = tasks
        self._ttl = ttl
        self._rankings: OrderedDict[int, TtlCache[EngineRanking]] = OrderedDict()

    def forget(self) -> None:
        """Drop all kept rankings: there is new feedback, which the next call is to show."""
        for ranking in self._rankings.values():
            ranking.forget()

    async def get(self, window: int) -> CacheHit[EngineRanking]:
        """Engines ranked by the feedback of the last ``window`` seconds, best first.

        Raises OperatorError(database_unavailable).
        """
        ranking = self._rankings.get(window)
        if ranking is None:
            ranking = self._rankings[window] = TtlCache(
                lambda: self._rank(window), self._tasks, ttl=self._ttl
            )
            if len(self._rankings) > WINDOWS:
                self._rankings.popitem(last=False)
        else:
            self._rankings.move_to_end(window)
        return await ranking.get()

    async def _rank(self, window: int) -> EngineRanking:
        stats = await self._store.engines(window, ENGINES)
        engines = sorted(map(_view, stats), key=lambda e: (-e.score, -e.calls, e.engine))
        if not engines:
            return EngineRanking(engines, None, None, window)
        try:
            listed = await self._switch.models_available()
        except OperatorError as error:
            return EngineRanking(engines, None, Unknown(str(error.code), error.detail), window)
        return EngineRanking(engines, recommend(engines, listed), None, window)


def recommend(engines: list[EngineView], listed: ModelsAvailable) -> Recommendation | None:
    """The adjustment that feedback recommends; None where Switch uses the best of its models
    already, or nothing is known of any of them. ``engines`` are ranked, best first."""
    names = {model.name for model in listed.models}
    best = next((engine for engine in engines if engine.engine in names), None)
    if best is None or best.score <= 0 or best.engine == listed.active:
        return None
    used = setting_or_none(listed.active)
    active = next((engine for engine in engines if engine.engine == used), None)
    if active is not None and active.score >= best.score:
        return None
    compared = (
        f"{used} scores {active.score}" if active is not None
        else f"nothing is known of {used}" if used
        else "Switch does not say what it uses"
    )  # fmt: skip
    median = best.latency_p50_ms
    speed = "" if median is None else f", median {median:g} ms"
    return Recommendation(
        before_config={"default_model": used} if used else UNSET,
        after_config={"default_model": best.engine},
        reason=(
            f"{best.engine} scores {best.score} of {best.calls} calls"
            f" ({best.success_rate:.1%} well{speed}); {compared}"
        ),
    )


def _view(stats: EngineStats) -> EngineView:
    p50, p95 = stats.latency_p50_ms, stats.latency_p95_ms
    return EngineView(
        engine=stats.engine,
        calls=stats.calls,
        success_rate=round(stats.successes / stats.calls, 4),
        latency_p50_ms=None if p50 is None else round(p50, 1),
        latency_p95_ms=None if p95 is None else round(p95, 1),
        tokens=stats.tokens,
        score=score(stats.successes, stats.calls, p50, p95),
    )


def score(successes: int, calls: int, p50_ms: float | None, p95_ms: float | None) -> float:
    """A number from 0 to 1: confidence that calls succeed, times their speed (docs/system.md).

    The first is the lower bound of Wilson's interval for the success rate, so that few calls
    count for little; the second is 1 at 0 ms and 0.5 at 5 s, of the mean of median and p95; 0.5
    too where no latency is known.
    """
    if not successes:
        return 0.0
    rate, z2 = successes / calls, Z * Z
    spread = Z * math.sqrt(rate * (1 - rate) / calls + z2 / (4 * calls * calls))
    success = (rate + z2 / (2 * calls) - spread) / (1 + z2 / calls)
    speed = 0.5
    if p50_ms is not None and p95_ms is not None:
        speed = HALF_SPEED_MS / (HALF_SPEED_MS + (p50_ms + p95_ms) / 2)
    return round(success * speed, 4)
