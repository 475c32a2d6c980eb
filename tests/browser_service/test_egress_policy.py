"""The egress policy: names, their addresses, ports, and the exceptions."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from operator_svc.browser_service.addresses import AllowList, parse_networks
from operator_svc.browser_service.egress_policy import (
    EgressPolicy,
    SystemResolver,
    UnreachableError,
)
from operator_svc.browser_service.page_proxy import PageProxy
from tests.browser_service.blocked import GLOBAL, NETWORKS
from tests.browser_service.conftest import Names

Table = dict[str, list[str]]


def make_policy(
    table: Table, allow: str = "", deny: str = "", local: tuple[str, ...] = ()
) -> EgressPolicy:
    """A policy whose names are those of ``table``, on a machine with the ``local`` addresses."""

    async def resolve(name: str) -> list[str]:
        if name not in table:
            raise OSError
        return table[name]

    return EgressPolicy(
        resolve,
        AllowList.parse(allow),
        parse_networks(deny, "BROWSER_DENY"),
        lambda address: str(address) in local,
    )


async def permitted(policy: EgressPolicy, host: str, port: int = 80) -> list[str]:
    """The addresses to which a page would connect."""
    addresses = await policy.resolve(host)
    return [str(address) for address in policy.check(host, port, addresses)]


async def test_one_refused_address_refuses_the_name() -> None:
    table = {"mixed.test": ["1.1.1.1", "::1"], "good.test": ["1.1.1.1", "2a00::1"], "no.test": []}
    with pytest.raises(UnreachableError, match="::1 is loopback") as caught:
        await permitted(make_policy(table), "mixed.test")
    assert caught.value.blocked
    assert await permitted(make_policy(table), "GOOD.test.") == ["1.1.1.1", "2a00::1"]
    for name in ("no.test", "gone.test"):
        with pytest.raises(UnreachableError, match="does not resolve") as caught:
            await permitted(make_policy(table), name)
        assert not caught.value.blocked


async def test_allowed_name_does_not_allow_its_address() -> None:
    policy = make_policy({"a.test": ["10.0.0.1"], "b.test": ["10.0.0.1"]}, allow="a.test")
    assert await permitted(policy, "a.test") == ["10.0.0.1"]
    for host in ("b.test", "10.0.0.1"):
        with pytest.raises(UnreachableError):
            await permitted(policy, host)


async def test_localhost_is_never_resolved() -> None:
    table = {"localhost": ["1.1.1.1"], "x.localhost": ["1.1.1.1"]}
    for host in ("localhost", "x.localhost", "LOCALHOST."):
        with pytest.raises(UnreachableError, match="loopback"):
            await permitted(make_policy(table), host)
    assert await permitted(make_policy(table, allow="127.0.0.1"), "localhost") == ["127.0.0.1"]
    assert await permitted(make_policy(table, allow="localhost"), "localhost") == [
        "127.0.0.1",
        "::1",
    ]


async def test_address_forms_of_the_resolver_are_refused() -> None:
    """Chromium writes addresses plainly; another client of the proxy might not."""
    resolver = SystemResolver()
    try:
        for host in ("127.1", "0x7f.1", "2130706433", "0177.0.0.1"):
            with pytest.raises(UnreachableError, match="loopback"):
                await permitted(EgressPolicy(resolver, AllowList.parse("")), host)
    finally:
        resolver.close()


async def test_global_address_of_this_machine_is_refused_unless_allowed() -> None:
    table = {"us.test": ["8.8.4.9", "2600:1234::9"]}
    local = ("8.8.4.9", "2600:1234::9")
    for host in ("8.8.4.9", "[2600:1234::9]", "us.test"):
        with pytest.raises(UnreachableError, match="an address of this machine") as caught:
            await permitted(make_policy(table, local=local), host)
        assert caught.value.blocked
    assert await permitted(make_policy(table, local=local), "8.8.4.8") == ["8.8.4.8"]
    policy = make_policy(table, "us.test", local=local)
    assert await permitted(policy, "us.test") == ["8.8.4.9", "2600:1234::9"]


async def test_local_addresses_are_read_anew_for_each_connection() -> None:
    own: set[str] = set()
    policy = EgressPolicy(Names(), AllowList.parse(""), (), lambda address: str(address) in own)
    addresses = await policy.resolve("8.8.4.9")
    assert policy.check("8.8.4.9", 80, addresses) == (ip_address("8.8.4.9"),)
    own.add("8.8.4.9")
    with pytest.raises(UnreachableError, match="this machine"):
        policy.check("8.8.4.9", 80, addresses)
    own.clear()
    assert policy.check("8.8.4.9", 80, addresses)


async def test_denied_network_is_refused_even_where_allowed() -> None:
    table = {"a.test": ["9.8.7.6"], "b.test": ["9.9.9.9"], "c.test": ["2600:99::1"]}
    policy = make_policy(table, "a.test, 9.8.0.0/16, 9.9.9.9", deny="9.8.0.0/16, 2600:99::/32")
    for host in ("a.test", "9.8.0.1", "c.test", "[2600:99::7]"):
        with pytest.raises(UnreachableError, match="BROWSER_DENY") as caught:
            await permitted(policy, host)
        assert caught.value.blocked
    assert await permitted(policy, "b.test") == ["9.9.9.9"]


@pytest.mark.parametrize("port", [1, 22, 25, 79, 81, 442, 444, 3306, 6379, 8080, 65535])
async def test_other_ports_than_80_and_443_are_refused_unless_allowed(port: int) -> None:
    table = {"a.test": ["1.1.1.1"], "b.test": ["1.1.1.1"]}
    for allow in ("", "a.test", "1.1.1.1", "b.test:*", f"a.test:{port % 65535 + 1}"):
        with pytest.raises(UnreachableError, match=f"port {port} of a.test is refused") as caught:
            await permitted(make_policy(table, allow), "a.test", port)
        assert caught.value.blocked
    for allow in (f"a.test:{port}", f"*.test:{port}", f"1.0.0.0/8:{port}", "a.test:*"):
        assert await permitted(make_policy(table, allow), "a.test", port) == ["1.1.1.1"]
    for web in (80, 443):
        assert await permitted(make_policy(table), "a.test", web) == ["1.1.1.1"]


@pytest.mark.parametrize(("address", "reason"), NETWORKS)
async def test_name_of_a_special_address_is_refused_after_rebinding(
    address: str, reason: str
) -> None:
    """The resolver gives another address at each lookup: first a global one, then this one."""
    names = Names()
    names["rebound.test"] = [[GLOBAL], [address], [GLOBAL, address]]
    policy = EgressPolicy(names, AllowList.parse(""))
    async with PageProxy(policy, 1000) as page:
        for _ in range(3):  # one page looks a name up once
            assert [str(a) for a in await page.authorize("rebound.test", 80)] == [GLOBAL]
    for _ in range(2):
        async with PageProxy(policy, 1000) as page:
            with pytest.raises(UnreachableError, match=reason) as caught:
                await page.authorize("rebound.test", 80)
            assert caught.value.blocked
    assert len(names.asked) == 3


async def test_metadata_is_refused_where_everything_is_allowed() -> None:
    policy = make_policy({"m.test": ["169.254.169.254"]}, allow="0.0.0.0/0:*, [::/0]:*, m.test:*")
    assert await permitted(policy, "10.1.2.3", 6379) == ["10.1.2.3"]
    for host in ("169.254.169.254", "m.test", "[fd00:ec2::254]", "[::ffff:a9fe:a9fe]"):
        with pytest.raises(UnreachableError, match="metadata") as caught:
            await permitted(policy, host)
        assert caught.value.blocked
