"""Fixtures of this folder."""

from __future__ import annotations

from tests.fakes.chromium import browser

__all__ = ["browser"]
