"""Recognition of this machine's own addresses, by the real kernel."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from operator_svc.browser_service import local_addresses
from operator_svc.errors import ConfigurationError

NONLOCAL = """
import sys
from operator_svc.browser_service import local_addresses
from operator_svc.errors import ConfigurationError
try:
    local_addresses.require_detection()
except ConfigurationError as error:
    print(error.problems)
"""


def own_addresses() -> set[IPv4Address | IPv6Address]:
    """The addresses of all interfaces, as the kernel lists them."""
    routes = Path("/proc/net/fib_trie").read_text()
    found: set[IPv4Address | IPv6Address] = {
        IPv4Address(address) for address in re.findall(r"\|-- ([0-9.]+)\n +/32 host LOCAL", routes)
    }
    if (listed := Path("/proc/net/if_inet6")).exists():
        numbers = (int(line.split()[0], 16) for line in listed.read_text().splitlines())
        found |= {address for n in numbers if not (address := IPv6Address(n)).is_link_local}
    return found


def test_every_address_of_this_machine_is_local() -> None:
    own = own_addresses()
    assert ip_address("127.0.0.1") in own
    assert {address for address in own if local_addresses.is_local(address)} == own


@pytest.mark.parametrize("address", ["1.1.1.1", "10.255.254.253", "2600:1234::9", "2001:db8::1"])
def test_foreign_address_is_not_local(address: str) -> None:
    assert not local_addresses.is_local(ip_address(address))


def test_unclear_answer_of_the_kernel_counts_as_local(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket, "socket", refuse)
    assert local_addresses.is_local(ip_address("1.1.1.1"))


def test_kernel_that_binds_any_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    local_addresses.require_detection()
    monkeypatch.setattr(local_addresses, "is_local", lambda address: address.version == 4)
    with pytest.raises(ConfigurationError, match=r"net\.ipv4\.ip_nonlocal_bind is on") as caught:
        local_addresses.require_detection()
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("version", ["ipv4", "ipv6"])
def test_nonlocal_bind_of_the_kernel_is_noticed(version: str) -> None:
    setting = f"net/{version}/ip_nonlocal_bind"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", "--", "sh", "-c",
         f'echo 1 > /proc/sys/{setting} && exec "$@"', "sh", sys.executable, "-c", NONLOCAL],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert setting.replace("/", ".") in done.stdout
