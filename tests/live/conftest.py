"""Pods that share a database and a Switch whose words the test chooses."""

from __future__ import annotations

from tests.fakes.pods import pods, shared

__all__ = ["pods", "shared"]
