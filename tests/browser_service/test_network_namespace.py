"""Refused addresses with real Chromium, in a network where each of them answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from ipaddress import ip_address
from typing import Any

import pytest

from tests.browser_service import network_namespace as world
from tests.browser_service.blocked import NETWORKS

NEVER_ANSWER = {"224.0.0.1", "255.255.255.255", "fe80::1", "ff02::1"}
"""Multicast, broadcast, and link-local without an interface."""
REASONS = dict(NETWORKS) | dict.fromkeys(world.OWN, "an address of this machine")


@pytest.fixture(scope="module")
def seen() -> Any:
    """The result of `network_namespace`, run once."""
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-m", world.__name__],
        env=os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"},  # where `ip` is
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_every_refused_address_answers_without_the_policy(seen: Any) -> None:
    assert set(REASONS) - set(seen["reachable"]) == NEVER_ANSWER


@pytest.mark.parametrize("address", REASONS)
def test_special_and_own_addresses_are_blocked(address: str, seen: Any) -> None:
    answer = seen["opened"][address]
    assert answer["status"] == "blocked"
    assert REASONS[address] in answer["error"]


def test_names_of_special_and_own_addresses_are_refused_to_a_page(seen: Any) -> None:
    answer, names = seen["fetching"], seen["names"]
    assert (answer["status"], answer["title"]) == ("ok", world.WORLD)
    assert answer["script"] == ["failed"] * len(names)
    lines = [line for line in answer["console"] if line.startswith("refused: ")]
    assert len(lines) == len(names)
    for name, address in names.items():
        (line,) = (line for line in lines if line.startswith(f"refused: {name}:80 "))
        assert f"its address {ip_address(address)} is " in line
        assert REASONS[address] in line


def test_only_permitted_addresses_and_ports_were_connected_to(seen: Any) -> None:
    assert seen["visits_here"] == []
    assert set(seen["visits_there"]) == {
        f"{world.WORLD} 80", f"{world.WORLD} 8080", f"{world.LATER} 80", "10.9.8.7 80",
    }  # fmt: skip


def test_global_address_is_opened(seen: Any) -> None:
    assert (seen["world"]["status"], seen["world"]["title"]) == ("ok", world.WORLD)


def test_other_port_is_blocked_unless_allowed(seen: Any) -> None:
    assert seen["port"]["status"] == "blocked"
    assert "port 8080" in seen["port"]["error"]
    assert seen["allowed_port"]["status"] == "ok"


def test_denied_network_is_blocked_and_allowed_address_is_opened(seen: Any) -> None:
    assert seen["denied"]["status"] == "blocked"
    assert "BROWSER_DENY" in seen["denied"]["error"]
    assert seen["allowed"]["status"] == "ok"


def test_name_rebound_to_this_machine_keeps_its_address_and_is_blocked_next_time(seen: Any) -> None:
    first, second = seen["rebound"]
    assert (first["status"], first["title"]) == ("ok", world.WORLD)
    assert world.WORLD in first["script"], "the second request of the page goes to the same server"
    assert second["status"] == "blocked"
    assert f"its address {world.OWN[0]} is an address of this machine" in second["error"]


def test_address_that_the_machine_gets_while_running_is_blocked_at_once(seen: Any) -> None:
    assert [seen[when]["status"] for when in ("before", "after", "removed")] == [
        "ok", "blocked", "ok",
    ]  # fmt: skip
