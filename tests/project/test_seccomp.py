"""The browser pod's seccomp profile: Chromium's sandbox works under it, and little else does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from operator_svc.browser_service.chromium import find_executable
from operator_svc.settings import BrowserSettings, load

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "deploy" / "kubernetes" / "browser" / "operator-browser.seccomp.json"
UNDER = Path(__file__).with_name("under_seccomp.py")

# sched.h; what Chromium's sandbox makes of its own, and what it has no use for.
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000

PRIVILEGED = {
    "bpf",
    "init_module",
    "io_uring_setup",
    "kexec_load",
    "keyctl",
    "mount",
    "open_by_handle_at",
    "perf_event_open",
    "pivot_root",
    "process_vm_readv",
    "ptrace",
    "reboot",
    "setns",
    "swapon",
    "umount2",
    "userfaultfd",
}


@pytest.fixture
def profile() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(PROFILE.read_text())
    return loaded


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that nobody may use too; pytest's own are closed to others."""
    path = Path(tempfile.mkdtemp(prefix="operator-seccomp-"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


def chromium_under(profile: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    """Open a page in Chromium, which starts only where its sandbox works."""
    settings, _ = load(BrowserSettings, os.environ | {"OPERATOR_AUTH": "off"})
    chromium = find_executable(settings)
    assert chromium is not None
    file = folder / "profile.json"
    file.write_text(json.dumps(profile))
    file.chmod(0o644)
    return subprocess.run(
        [
            sys.executable,
            str(UNDER),
            str(file),
            str(chromium),
            "--headless",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            f"--user-data-dir={folder}/data",
            "--dump-dom",
            "data:text/html,<p>it is shown</p>",
        ],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_chromium_keeps_its_sandbox(profile: dict[str, Any], folder: Path) -> None:
    run = chromium_under(profile, folder)
    assert "it is shown" in run.stdout, run.stderr


def test_without_its_two_allowances_chromium_does_not_start(
    profile: dict[str, Any], folder: Path
) -> None:
    for rule in profile["syscalls"]:
        if "clone" in rule["names"]:
            rule["args"][0]["value"] |= NEWUSER
    run = chromium_under(profile, folder)
    assert "it is shown" not in run.stdout
    assert "No usable sandbox" in run.stderr


def test_only_the_namespaces_of_the_sandbox_can_be_made(profile: dict[str, Any]) -> None:
    (rule,) = [rule for rule in profile["syscalls"] if "clone" in rule["names"]]
    assert set(rule["names"]) == {"clone", "unshare"}
    (argument,) = rule["args"]
    assert argument["op"] == "SCMP_CMP_MASKED_EQ"
    assert argument["valueTwo"] == 0
    refused = argument["value"]
    assert refused == NEWNS | NEWCGROUP | NEWUTS | NEWIPC
    assert not refused & (NEWUSER | NEWPID | NEWNET)


def test_what_is_not_named_is_refused(profile: dict[str, Any]) -> None:
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    allowed = {
        name
        for rule in profile["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW"
        for name in rule["names"]
    }
    assert not allowed & PRIVILEGED
    assert "clone3" not in allowed, "its flags lie in memory, where no filter sees them"
