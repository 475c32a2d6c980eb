"""Pods with a Switch that takes feedback and whose configuration can be changed."""

from __future__ import annotations

from tests.fakes.records import local, pod, switch

__all__ = ["local", "pod", "switch"]
