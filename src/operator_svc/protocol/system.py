"""The system as it is now: answers of the overview, the dashboard, the resources and probes.

Null stands for what no source gave; nothing is put in its place.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from operator_svc import __version__
from operator_svc.protocol.closed_sets import CallerRole, HealthStatus

ModuleStatus = Annotated[
    Literal["ok", "error", "timeout", "circuit_open", "unknown"], Meta(title="ModuleStatus")
]
SourceStatus = Annotated[
    Literal["ok", "error", "timeout", "circuit_open"], Meta(title="SourceStatus")
]
SystemStatus = Annotated[Literal["ok", "degraded", "down"], Meta(title="SystemStatus")]
Availability = Annotated[Literal["ok", "degraded", "unavailable"], Meta(title="Availability")]
OverviewSource = Annotated[Literal["tentaculo_link", "direct"], Meta(title="OverviewSource")]


class ModuleView(msgspec.Struct, frozen=True, kw_only=True):
    """A module as it was found at ``checked_at``; ``latency_ms`` is null where it was not asked
    by Operator itself."""

    status: ModuleStatus
    latency_ms: float | None
    checked_at: datetime
    version: str | UnsetType = UNSET
    error: str | UnsetType = UNSET


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """All modules of VX11, by the gateway or by each one's own word (``source``)."""

    status: SystemStatus
    healthy_modules: int
    total_modules: int
    modules: dict[str, ModuleView]
    source: OverviewSource


class SourceView(msgspec.Struct, frozen=True, kw_only=True):
    """One of the calls that an answer is made of: its outcome, and why it failed."""

    status: SourceStatus
    error: str | None = None
    detail: str | None = None


class ShubResources(msgspec.Struct, frozen=True):
    """Resources that Shub uses: percent of processors, megabytes."""

    cpu_percent: float | None
    memory_mb: float | None


class ShubParts(msgspec.Struct, frozen=True):
    """Shub's parts, and whether they are ready."""

    ready: bool | None
    dsp_ready: bool | None
    fx_ready: bool | None
    reaper_ready: bool | None
    vx11_bridge_ready: bool | None


class ShubJobs(msgspec.Struct, frozen=True):
    """Shub's batch jobs."""

    active: int | None
    completed: int | None
    failed: int | None
    queued: int | None


class Dashboard(msgspec.Struct, frozen=True, kw_only=True):
    """Shub by its own account. ``shub_health`` is its word; ``degraded`` means that a part is
    missing, and ``error`` says why it is not ``ok``."""

    status: Availability
    shub_health: str | None
    version: str | None
    uptime_seconds: float | None
    active_sessions: int | None
    projects: list[Any] | None
    resources: ShubResources
    parts: ShubParts
    jobs: ShubJobs
    error: str | None
    sources: dict[str, SourceView]


class CliTool(msgspec.Struct, frozen=True, kw_only=True):
    """A command line tool, put together from all ``sources`` that name it. A number that no source
    gives is left out."""

    name: str
    available: bool | None
    version: str | None
    type: str | None
    status: str | None
    rate_limit_daily: float | UnsetType = UNSET
    updated_at: str | None
    sources: list[str]


class LocalModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model, put together from all ``sources`` that name it. It is ``available`` unless a source
    says otherwise; ``active`` and ``warm`` are null where Switch does not say, and ``size_mb`` is
    left out where no source gives it."""

    name: str
    available: bool
    size_mb: float | UnsetType = UNSET
    category: str | None
    status: str | None
    compatibility: Any
    active: bool | None
    warm: bool | None
    sources: list[str]


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """Tools and models of Hermes and Switch, merged by name; which source gave what, and which
    failed. A list is null where no source that knows it answered."""

    status: Availability
    cli_tools: list[CliTool] | None
    local_models: list[LocalModel] | None
    max_tokens: int | UnsetType = UNSET
    available_tokens: int | UnsetType = UNSET
    sources: dict[str, SourceView]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """This process, as it says itself: ``status`` is ok, or draining when it is about to stop."""

    status: HealthStatus
    module: str = "operator"
    version: str = __version__
    uptime_seconds: int


class Probe(msgspec.Struct, frozen=True):
    """The good answer to a probe."""

    status: str


class Me(msgspec.Struct, frozen=True):
    """The caller: the name of its token, its role, and the user it is bound to, if any."""

    name: str
    role: CallerRole
    user_id: str | None
