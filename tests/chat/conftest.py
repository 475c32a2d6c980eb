"""Pods that share a database and a Switch whose words the test chooses; and a pod of records."""

from __future__ import annotations

from tests.fakes.pods import pods, shared
from tests.fakes.records import local, pod, switch

__all__ = ["local", "pod", "pods", "shared", "switch"]
