"""The command line's interpreter."""

from __future__ import annotations

import gc
import importlib

import pytest
from click.testing import CliRunner

from operator_svc.cli import COMMANDS, INTERRUPTED, YOUNG_OBJECTS, main


def test_a_command_looks_for_garbage_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    thresholds: list[int] = []
    monkeypatch.setattr(gc, "set_threshold", thresholds.append)
    assert CliRunner().invoke(main, ["completion", "bash"]).exit_code == 0
    assert thresholds == [YOUNG_OBJECTS]


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_while_a_command_is_imported_ends_it_as_later(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    result = CliRunner().invoke(main, [name])
    assert (result.exit_code, result.output) == (INTERRUPTED, "")
