"""Listeners to the notifications of other pods."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeAlias

NotificationListener: TypeAlias = Callable[[Collection[str] | None], None]
"""Called with the sessions in which another pod has new events; None if it may be any."""
