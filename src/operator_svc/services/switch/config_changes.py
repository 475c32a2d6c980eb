"""Sets Switch's configuration step by step, confirms it, and undoes what failed half-way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import structlog

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Json, SwitchAdjustment
from operator_svc.peers.switch import Context, Loaded, ModeState
from operator_svc.protocol.switch import APPLICABLE, setting_or_none

log = structlog.get_logger(__name__)

MODE, DEFAULT_MODEL, PRELOAD_MODEL = APPLICABLE


class ConfigurableSwitch(Protocol):
    """Switch, as far as its configuration needs it."""

    async def context(self) -> Context:
        """The mode and the models in use."""

    async def set_mode(self, mode: str) -> ModeState:
        """Change the mode."""

    async def set_default_model(self, model_name: str) -> Loaded:
        """Change the model that is used."""

    async def preload_model(self, model_name: str) -> Loaded:
        """Load a model."""


class LeaseLostError(Exception):
    """Another pod may have taken the adjustment over: nothing more may be done here."""


async def read_config(switch: ConfigurableSwitch) -> dict[str, Json]:
    """Switch's present configuration; null for what it does not say, or no adjustment can have.

    Raises OperatorError: switch_error, switch_unavailable, switch_timeout.
    """
    context = await switch.context()
    return {
        MODE: setting_or_none(context.mode),
        DEFAULT_MODEL: setting_or_none(context.active_model),
        PRELOAD_MODEL: setting_or_none(context.warm_model),
    }


def plan(adjustment: SwitchAdjustment, *, applying: bool) -> dict[str, str]:
    """The settings that apply or revert an adjustment, in the order in which Switch gets them.

    Raises OperatorError(conflict) where there are none, or the value from before is not known.
    """
    after, before = _texts(adjustment.after_config), _texts(adjustment.before_config)
    if not after:
        raise OperatorError(
            ErrorCode.CONFLICT, f"this change has none of {', '.join(APPLICABLE)} to apply"
        )
    if applying:
        return after
    # Switch has one warm slot and no unload: a model loaded into an empty one stays.
    changed = [key for key in after if key != PRELOAD_MODEL or key in before]
    if not changed:
        raise OperatorError(
            ErrorCode.CONFLICT, "no model was loaded before, and Switch cannot unload"
        )
    if unknown := [key for key in changed if key not in before]:
        raise OperatorError(
            ErrorCode.CONFLICT, f"the previous value of {' and '.join(unknown)} is unknown"
        )
    return {key: before[key] for key in changed}


def _texts(config: Json) -> dict[str, str]:
    """The settings of a configuration that Switch accepts. Adopted configurations may not be
    objects."""
    if not isinstance(config, dict):
        return {}
    return {key: config[key] for key in APPLICABLE if isinstance(config.get(key), str)}


async def set_config(
    switch: ConfigurableSwitch, wanted: Mapping[str, str], check: Callable[[], None]
) -> None:
    """Bring Switch to ``wanted``; ``check`` is called before each call and may raise.

    Raises OperatorError with Switch's codes. What was changed until then is undone first, as far
    as it can be, and the error's detail says what could not.
    """
    check()
    before = await read_config(switch)
    try:
        for key, value in wanted.items():
            check()
            try:
                await _set(switch, key, value)
            except OperatorError as error:
                detail = f"{key}: {error.detail}"
                raise OperatorError(error.code, detail, retry_after=error.retry_after) from error
        _confirm(wanted, await read_config(switch))
    except OperatorError as error:
        left = await _undo(switch, wanted, before, check)
        detail = f"{error.detail}; {left}" if left else error.detail
        raise OperatorError(error.code, detail, retry_after=error.retry_after) from error


async def _set(switch: ConfigurableSwitch, key: str, value: str) -> None:
    call: dict[str, Any] = {
        MODE: switch.set_mode,
        DEFAULT_MODEL: switch.set_default_model,
        PRELOAD_MODEL: switch.preload_model,
    }
    await call[key](value)


def _confirm(wanted: Mapping[str, str], found: Mapping[str, Json]) -> None:
    if missed := _different(wanted, found):
        raise OperatorError(
            ErrorCode.SWITCH_ERROR,
            f"Switch accepted the change, but did not set {' and '.join(missed)}",
        )


def _different(wanted: Mapping[str, Json], found: Mapping[str, Json]) -> list[str]:
    """The keys whose values differ. A model in use counts as loaded."""
    return [
        key
        for key, value in wanted.items()
        if found.get(key) != value
        and not (key == PRELOAD_MODEL and found.get(DEFAULT_MODEL) == value)
    ]


async def _undo(
    switch: ConfigurableSwitch,
    wanted: Mapping[str, str],
    before: Mapping[str, Json],
    check: Callable[[], None],
) -> str:
    """Undo a change that failed half-way; returns what could not be undone, empty for nothing."""
    original = {key: before.get(key) for key in reversed(list(wanted)) if key != PRELOAD_MODEL}
    if PRELOAD_MODEL in wanted and before.get(PRELOAD_MODEL) is not None:
        original[PRELOAD_MODEL] = before[PRELOAD_MODEL]
    try:
        found = await read_config(switch)
        for key in _different(original, found):
            value = original[key]
            if isinstance(value, str):
                check()
                await _set(switch, key, value)
        found = await read_config(switch)
    except OperatorError as error:
        log.error("adjustment not undone", error=str(error.code))
        if not original:
            return ""
        return f"whether {' and '.join(original)} is as before is not known"
    left = _different(original, found)
    preload = {key: wanted[key] for key in wanted if key not in original}
    if _different(preload, before) and not _different(preload, found):
        left.append(PRELOAD_MODEL)
    if not left:
        return ""
    log.error("adjustment undone in part", left=left)
    return f"{' and '.join(left)} could not be put back"
