"""Rules for the whole test run: nothing is skipped, nothing runs again but what measures time, and
where several processes share the tests, the longest modules begin.

A skipped test proves nothing. A test that failed and passed when it ran once more may have found a
race; only where a test compares seconds can a busy machine make it fail.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Generator

import pytest

REFUSAL = "tests are not skipped here: what they need is part of the set-up; "
LONGEST = (
    "tests/project/test_image.py",
    "tests/rest/test_schemathesis.py",
    "tests/browser_service/test_process.py",
    "tests/browser_service/test_deaths.py",
    "tests/browser_service/test_memory.py",
)
"""Modules of few tests that take half a minute or more, the longest first."""


# What is imported and collected stays: to look for garbage among it takes a fifth of the time.
gc.disable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Collect garbage from now on, but not among what the tests are."""
    gc.enable()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let tests that measure time run once more where an assertion fails; the summary counts it.

    Of several processes, each takes the next module that is left. The longest are first, so that
    none of them is the last, which all others would wait for.
    """
    for item in items:
        if item.get_closest_marker("measures_time") is not None:
            item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=["^AssertionError"]))
    if hasattr(config, "workerinput"):  # set in a process of pytest-xdist
        _longest_first(items)


def _longest_first(items: list[pytest.Item]) -> None:
    modules = [item.nodeid.partition("::")[0] for item in items]
    tests = Counter(modules)
    rank = {name: n for n, name in enumerate(LONGEST)}
    order = {name: (rank.get(name, len(rank)), -tests[name]) for name in tests}
    items.sort(key=lambda item: order[item.nodeid.partition("::")[0]])


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
