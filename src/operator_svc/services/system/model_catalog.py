"""Tools and models as Hermes and Switch list them, merged by name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Protocol

from operator_svc.models import Json
from operator_svc.peers.hermes import Available, Catalog, HermesModel
from operator_svc.peers.switch import ModelsAvailable, Providers
from operator_svc.protocol.system import CliTool, LocalModel, Resources
from operator_svc.services.system.source_calls import call_source

NUMBERS = ("size_mb", "rate_limit_daily")
"""Fields that are left out where no source gives them: the published page takes any value that is
there for a number."""
UNAVAILABLE = frozenset(
    {
        "unavailable",
        "missing",
        "not_found",
        "error",
        "failed",
        "broken",
        "disabled",
        "deleted",
        "off",
    }
)
"""Words of a model's status that say that it cannot be used."""

WITHIN = 2.5
"""Seconds for each of the five calls, which are made at once."""


class HermesPeer(Protocol):
    """Hermes, as far as the resources need it."""

    async def available(self) -> Available:
        """Tools and names of models."""

    async def models(self) -> list[HermesModel]:
        """All models."""

    async def catalog(self, max_mb: int | None = None) -> Catalog:
        """Local, command line and remote engines."""


class SwitchPeer(Protocol):
    """Switch, as far as the resources need it."""

    async def models_available(self) -> ModelsAvailable:
        """The models that Switch can use."""

    async def providers(self) -> Providers:
        """The engines that Switch can use."""


class _Merged:
    """Entries by name. The first source that gives a field takes precedence."""

    def __init__(self, fields: tuple[str, ...]) -> None:
        self._fields = fields
        self.things: dict[str, dict[str, Any]] = {}
        self.known = False

    def add(self, source: str, name: Json, **fields: Json) -> None:
        """Merge the fields that a source gives of one thing."""
        if not isinstance(name, str) or not name:
            return
        blank: dict[str, Any] = {"name": name, **dict.fromkeys(self._fields), "sources": []}
        thing = self.things.setdefault(name, blank)
        if source not in thing["sources"]:
            thing["sources"].append(source)
        for field, value in fields.items():
            if thing[field] is None:
                thing[field] = value

    def sorted(self) -> Iterator[dict[str, Any]]:
        """All things, by name."""
        for name in sorted(self.things):
            thing = self.things[name]
            yield {
                field: value
                for field, value in thing.items()
                if value is not None or field not in NUMBERS
            }


async def read(hermes: HermesPeer, switch: SwitchPeer) -> Resources:
    """Ask all sources at once. Raises nothing but cancellation."""
    available, listed, catalog, models, providers = await asyncio.gather(
        call_source(hermes.available(), WITHIN),
        call_source(hermes.models(), WITHIN),
        call_source(hermes.catalog(), WITHIN),
        call_source(switch.models_available(), WITHIN),
        call_source(switch.providers(), WITHIN),
    )
    tools = _Merged(("available", "version", "type", "status", "rate_limit_daily", "updated_at"))
    local = _Merged(("size_mb", "category", "status", "compatibility", "active", "warm"))
    if available.value is not None:
        _take_available(tools, local, available.value)
    if listed.value is not None:
        _take_models(local, "hermes.list", listed.value)
    if catalog.value is not None:
        _take_catalog(tools, local, catalog.value)
    if models.value is not None:
        _take_switch(tools, local, models.value)
    if providers.value is not None:
        _take_providers(tools, local, providers.value)
    sources = {
        "hermes.available": available.source,
        "hermes.list": listed.source,
        "hermes.catalog": catalog.source,
        "switch.models": models.source,
        "switch.providers": providers.source,
    }
    well = sum(source.status == "ok" for source in sources.values())
    return Resources(
        status="ok" if well == len(sources) else "degraded" if well else "unavailable",
        cli_tools=[CliTool(**tool) for tool in tools.sorted()] if tools.known else None,
        local_models=[_model(**model) for model in local.sorted()] if local.known else None,
        sources=sources,
    )


def _model(**fields: Any) -> LocalModel:
    """A model of the list; it is available unless its status says otherwise."""
    status = fields["status"]
    available = not isinstance(status, str) or status.lower() not in UNAVAILABLE
    return LocalModel(available=available, **fields)


def _take_available(tools: _Merged, local: _Merged, said: Available) -> None:
    tools.known = local.known = True
    for name, there in said.binaries.items():
        tools.add("hermes.available", name, available=there)
    for name in said.models:
        local.add("hermes.available", name)


def _take_models(local: _Merged, source: str, said: list[HermesModel]) -> None:
    local.known = True
    for model in said:
        local.add(
            source,
            model.name,
            size_mb=model.size_mb,
            category=model.category,
            status=model.status,
            compatibility=model.compatibility,
        )


def _take_catalog(tools: _Merged, local: _Merged, said: Catalog) -> None:
    _take_models(local, "hermes.catalog", said.local)
    if isinstance(said.cli, list):
        tools.known = True
        for tool in said.cli:
            if isinstance(tool, dict):
                there = tool.get("available")
                there = there if isinstance(there, bool) else None
                version = tool.get("version")
                version = str(version) if isinstance(version, str | int | float) else None
                tools.add("hermes.catalog", tool.get("name"), available=there, version=version)
            else:
                tools.add("hermes.catalog", tool)


def _take_switch(tools: _Merged, local: _Merged, said: ModelsAvailable) -> None:
    tools.known = local.known = True
    for model in said.models:
        local.add(
            "switch.models",
            model.name,
            size_mb=model.size_mb,
            category=model.category,
            status=model.status,
            active=said.active == model.name if said.active else None,
            warm=said.warm == model.name if said.active or said.warm else None,
        )
    for cli in said.cli_registry:
        tools.add(
            "switch.models",
            cli.name,
            available=cli.available,
            type=cli.cli_type,
            updated_at=cli.updated_at,
        )


def _take_providers(tools: _Merged, local: _Merged, said: Providers) -> None:
    tools.known = local.known = True
    for provider in said.providers:
        if provider.kind == "cli":
            tools.add(
                "switch.providers",
                provider.name,
                status=provider.status,
                rate_limit_daily=provider.rate_limit_daily,
            )
        elif provider.kind == "local":
            local.add("switch.providers", provider.name, status=provider.status)
