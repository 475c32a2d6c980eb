"""Listeners to the notifications of other pods."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeAlias

NotificationListener: TypeAlias = Callable[[Collection[str] | None], None]
"""Called with the sessions of which another pod has news; None where it may be any."""
