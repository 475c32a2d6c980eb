"""Rules for the whole test run: nothing is skipped, for a skipped test proves nothing."""

from __future__ import annotations

from collections.abc import Generator

import pytest

REFUSAL = "tests are not skipped here: what they need is part of the set-up; "


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped or expectedly failing test into a failing one."""
    report = yield
    _refuse(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for modules that skip themselves while they are imported."""
    report = yield
    _refuse(report)
    return report


def _refuse(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"{REFUSAL}{report.longrepr}"
        if hasattr(report, "wasxfail"):
            del report.wasxfail
