"""Rules for the whole test run: nothing is skipped, and nothing runs again but what measures time.

A skipped test proves nothing. A test that failed and passed when it ran once more may have found a
race; only where a test compares seconds can a busy machine make it fail.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

REFUSAL = "tests are not skipped here: what they need is part of the set-up; "


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests that measure time run once more where an assertion fails; the summary counts it."""
    for item in items:
        if item.get_closest_marker("measures_time") is not None:
            item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=["^AssertionError"]))


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
