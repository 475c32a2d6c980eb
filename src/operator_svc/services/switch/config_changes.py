"""Doing a change on Switch: step by step, read back to confirm, undone where it fails half-way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import structlog

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Json, SwitchAdjustment
from operator_svc.peers.switch import Context, Loaded, ModeState
from operator_svc.protocol.switch import APPLICABLE

log = structlog.get_logger(__name__)

MODE, DEFAULT_MODEL, PRELOAD_MODEL = APPLICABLE


class Tunable(Protocol):
    """Switch, as far as changing it needs it."""

    async def context(self) -> Context:
        """The mode and the models that Switch works with now."""

    async def set_mode(self, mode: str) -> ModeState:
        """Change the mode."""

    async def set_default_model(self, model_name: str) -> Loaded:
        """Change the model that is used."""

    async def preload_model(self, model_name: str) -> Loaded:
        """Have a model loaded."""


class LeaseLostError(Exception):
    """Another process may have taken the change over: nothing more may be done here."""


async def read_config(switch: Tunable) -> dict[str, Json]:
    """What Switch works with now, by the names of a configuration; null where it does not say.

    Raises OperatorError: switch_error, switch_unavailable, switch_timeout.
    """
    context = await switch.context()
    return {
        MODE: context.mode,
        DEFAULT_MODEL: context.active_model,
        PRELOAD_MODEL: context.warm_model,
    }


def steps(adjustment: SwitchAdjustment, *, applying: bool) -> dict[str, str]:
    """What Switch is to be told to apply or to revert a change, in order.

    Raises OperatorError(conflict) where there is nothing, or it is not known what was before.
    """
    after, before = _texts(adjustment.after_config), _texts(adjustment.before_config)
    if not after:
        raise OperatorError(
            ErrorCode.CONFLICT, f"this change has none of {', '.join(APPLICABLE)} to be applied"
        )
    if applying:
        return after
    changed = [key for key in after if key != PRELOAD_MODEL]
    if not changed:
        raise OperatorError(
            ErrorCode.CONFLICT, "Switch has no unload: a preload alone cannot be reverted"
        )
    if unknown := [key for key in changed if key not in before]:
        raise OperatorError(
            ErrorCode.CONFLICT, f"it is not known what {' and '.join(unknown)} was before"
        )
    return {key: before[key] for key in changed}


def _texts(config: Json) -> dict[str, str]:
    """The parts of a configuration that Switch can be told; adopted ones may be no objects."""
    if not isinstance(config, dict):
        return {}
    return {key: config[key] for key in APPLICABLE if isinstance(config.get(key), str)}


async def perform(switch: Tunable, wanted: Mapping[str, str], check: Callable[[], None]) -> None:
    """Bring Switch to ``wanted``; ``check`` is called before each call and may raise.

    Raises OperatorError with Switch's codes. What took of it is undone first, as far as it can
    be, and the error's detail says what could not.
    """
    check()
    before = await read_config(switch)
    try:
        for key, value in wanted.items():
            check()
            try:
                await _tell(switch, key, value)
            except OperatorError as error:
                detail = f"{key}: {error.detail}"
                raise OperatorError(error.code, detail, retry_after=error.retry_after) from error
        _confirm(wanted, await read_config(switch))
    except OperatorError as error:
        left = await _undo(switch, wanted, before, check)
        detail = f"{error.detail}; {left}" if left else error.detail
        raise OperatorError(error.code, detail, retry_after=error.retry_after) from error


async def _tell(switch: Tunable, key: str, value: str) -> None:
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
            f"Switch took the change, but its {' and '.join(missed)} did not become so",
        )


def _different(wanted: Mapping[str, Json], found: Mapping[str, Json]) -> list[str]:
    """The keys that are not as wanted. A model that is in use is loaded, too."""
    return [
        key
        for key, value in wanted.items()
        if found.get(key) != value
        and not (key == PRELOAD_MODEL and found.get(DEFAULT_MODEL) == value)
    ]


async def _undo(
    switch: Tunable,
    wanted: Mapping[str, str],
    before: Mapping[str, Json],
    check: Callable[[], None],
) -> str:
    """Put back what took of a change that failed; says what could not be, empty where all was."""
    original = {key: before.get(key) for key in reversed(list(wanted)) if key != PRELOAD_MODEL}
    try:
        found = await read_config(switch)
        for key in _different(original, found):
            value = original[key]
            if isinstance(value, str):
                check()
                await _tell(switch, key, value)
        found = await read_config(switch)
    except OperatorError as error:
        log.error("a failed change of Switch could not be undone", error=str(error.code))
        if not original:
            return ""
        return f"whether {' and '.join(original)} is as before is not known"
    left = _different(original, found)
    preload = {key: value for key, value in wanted.items() if key == PRELOAD_MODEL}
    if _different(preload, before) and not _different(preload, found):
        left.append(PRELOAD_MODEL)
    if not left:
        return ""
    log.error("a failed change of Switch was not undone wholly", left=left)
    return f"{' and '.join(left)} could not be put back"
