"""The command line's interpreter."""

from __future__ import annotations

import gc

import pytest
from click.testing import CliRunner

from operator_svc.cli import YOUNG_OBJECTS, main


def test_a_command_looks_for_garbage_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    thresholds: list[int] = []
    monkeypatch.setattr(gc, "set_threshold", thresholds.append)
    assert CliRunner().invoke(main, ["completion", "bash"]).exit_code == 0
    assert thresholds == [YOUNG_OBJECTS]
