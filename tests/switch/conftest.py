"""Pods with a Switch that takes feedback and whose configuration can be changed."""

from __future__ import annotations

import pytest

from operator_svc.services.switch import adjustments
from tests.fakes.records import local, pod, switch

__all__ = ["local", "pod", "switch"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adjustments, "POLL_INTERVAL", 0.02)
