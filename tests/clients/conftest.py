"""Fixtures of this folder."""

from __future__ import annotations

from tests.fakes.chromium import browser, chromium

__all__ = ["browser", "chromium"]
