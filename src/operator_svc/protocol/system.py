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
    """The module's state."""
    latency_ms: float | None
    """Milliseconds that its answer took."""
    checked_at: datetime
    """The time at which it was asked."""
    version: str | UnsetType = UNSET
    """The module's version."""
    error: str | UnsetType = UNSET
    """The reason why it is not ``ok``."""


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """All modules of VX11, by the gateway or by each one's own word (``source``)."""

    status: SystemStatus
    """The state of all of them."""
    healthy_modules: int
    """Modules that are ``ok``."""
    total_modules: int
    """Modules that there are."""
    modules: dict[str, ModuleView]
    """The modules by name."""
    source: OverviewSource
    """The source of the answer."""


class SourceView(msgspec.Struct, frozen=True, kw_only=True):
    """One of the calls that an answer is made of: its outcome, and why it failed."""

    status: SourceStatus
    """The outcome of the call."""
    error: str | None = None
    """The error's code."""
    detail: str | None = None
    """The failure, for people."""


class ShubResources(msgspec.Struct, frozen=True):
    """Resources that Shub uses: percent of processors, megabytes."""

    cpu_percent: float | None
    """Percent of the processors."""
    memory_mb: float | None
    """Megabytes of memory."""


class ShubParts(msgspec.Struct, frozen=True):
    """Shub's parts, and whether they are ready."""

    ready: bool | None
    """True where Shub is ready."""
    dsp_ready: bool | None
    """True where its signal processing is ready."""
    fx_ready: bool | None
    """True where its effects are ready."""
    reaper_ready: bool | None
    """True where REAPER is ready."""
    vx11_bridge_ready: bool | None
    """True where its bridge to VX11 is ready."""


class ShubJobs(msgspec.Struct, frozen=True):
    """Shub's batch jobs."""

    active: int | None
    """Jobs that run."""
    completed: int | None
    """Jobs that are done."""
    failed: int | None
    """Jobs that failed."""
    queued: int | None
    """Jobs that wait."""


class Dashboard(msgspec.Struct, frozen=True, kw_only=True):
    """Shub by its own account. ``shub_health`` is its word; ``degraded`` means that a part is
    missing, and ``error`` says why it is not ``ok``."""

    status: Availability
    """The state of the answer."""
    shub_health: str | None
    """Shub's own word for its state."""
    version: str | None
    """Shub's version."""
    uptime_seconds: float | None
    """Seconds since Shub was started."""
    active_sessions: int | None
    """Sessions that are open."""
    projects: list[Any] | None
    """The projects, as Shub reports them."""
    resources: ShubResources
    """Resources that Shub uses."""
    parts: ShubParts
    """Shub's parts."""
    jobs: ShubJobs
    """Shub's batch jobs."""
    error: str | None
    """The reason why it is not ``ok``."""
    sources: dict[str, SourceView]
    """The calls that this was made of, by name."""


class CliTool(msgspec.Struct, frozen=True, kw_only=True):
    """A command line tool, put together from all ``sources`` that name it. A number that no source
    gives is left out."""

    name: str
    """The tool's name."""
    available: bool | None
    """True where it can be used."""
    version: str | None
    """The tool's version."""
    type: str | None
    """The kind of tool."""
    status: str | None
    """The state, in the source's own word."""
    rate_limit_daily: float | UnsetType = UNSET
    """Calls a day that are allowed."""
    updated_at: str | None
    """The time of the source's last news of it."""
    sources: list[str]
    """The sources that name it."""


class LocalModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model, put together from all ``sources`` that name it. It is ``available`` unless a source
    says otherwise; ``active`` and ``warm`` are null where Switch does not say, and ``size_mb`` is
    left out where no source gives it."""

    name: str
    """The model's name."""
    available: bool
    """True where it can be used."""
    size_mb: float | UnsetType = UNSET
    """Megabytes of the model."""
    category: str | None
    """The kind of model."""
    status: str | None
    """The state, in the source's own word."""
    compatibility: Any
    """The platforms that it runs on, as the source reports them."""
    active: bool | None
    """True where Switch uses it now."""
    warm: bool | None
    """True where it is loaded."""
    sources: list[str]
    """The sources that name it."""


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """Tools and models of Hermes and Switch, merged by name; which source gave what, and which
    failed. A list is null where no source that knows it answered."""

    status: Availability
    """The state of the answer."""
    cli_tools: list[CliTool] | None
    """The command line tools."""
    local_models: list[LocalModel] | None
    """The models."""
    max_tokens: int | UnsetType = UNSET
    """Tokens that may be used."""
    available_tokens: int | UnsetType = UNSET
    """Tokens that are left."""
    sources: dict[str, SourceView]
    """The calls that this was made of, by name."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """This process, as it says itself: ``status`` is ok, degraded while NATS is away (other
    processes' news come later), or draining when it is about to stop."""

    status: HealthStatus
    """The state of this process."""
    module: str = "operator"
    """The module's name."""
    version: str = __version__
    """The module's version."""
    uptime_seconds: int
    """Seconds since this process was started."""


class Probe(msgspec.Struct, frozen=True):
    """The good answer to a probe."""

    status: str
    """Always ``ok``, or ``ready``."""


class Me(msgspec.Struct, frozen=True):
    """The caller: the name of its token, its role, and the user it is bound to, if any."""

    name: str
    """The token's name."""
    role: CallerRole
    """The token's role."""
    user_id: str | None
    """The user that the token is bound to."""
