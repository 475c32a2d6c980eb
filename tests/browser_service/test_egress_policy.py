"""The egress policy: names, their addresses, and the exceptions."""

from __future__ import annotations

import pytest

from operator_svc.browser_service.addresses import AllowList
from operator_svc.browser_service.egress_policy import (
    EgressPolicy,
    SystemResolver,
    UnreachableError,
)


def policy(table: dict[str, list[str]], allow: str = "") -> EgressPolicy:
    async def resolve(name: str) -> list[str]:
        if name not in table:
            raise OSError
        return table[name]

    return EgressPolicy(AllowList.parse(allow), resolve)


async def test_one_refused_address_refuses_the_name() -> None:
    table = {"mixed.test": ["1.1.1.1", "::1"], "good.test": ["1.1.1.1", "2a00::1"], "no.test": []}
    with pytest.raises(UnreachableError, match="::1 is loopback") as caught:
        await policy(table).addresses("mixed.test")
    assert caught.value.blocked
    found = await policy(table).addresses("GOOD.test.")
    assert [str(address) for address in found] == ["1.1.1.1", "2a00::1"]
    for name in ("no.test", "gone.test"):
        with pytest.raises(UnreachableError, match="does not resolve") as caught:
            await policy(table).addresses(name)
        assert not caught.value.blocked


async def test_allowed_name_does_not_allow_its_address() -> None:
    table = {"a.test": ["10.0.0.1"], "b.test": ["10.0.0.1"]}
    assert await policy(table, "a.test").addresses("a.test")
    for host in ("b.test", "10.0.0.1"):
        with pytest.raises(UnreachableError):
            await policy(table, "a.test").addresses(host)


async def test_localhost_is_never_resolved() -> None:
    table = {"localhost": ["1.1.1.1"], "x.localhost": ["1.1.1.1"]}
    for host in ("localhost", "x.localhost", "LOCALHOST."):
        with pytest.raises(UnreachableError, match="loopback"):
            await policy(table).addresses(host)
    found = await policy(table, "127.0.0.1").addresses("localhost")
    assert [str(address) for address in found] == ["127.0.0.1"]
    found = await policy(table, "localhost").addresses("localhost")
    assert [str(address) for address in found] == ["127.0.0.1", "::1"]


async def test_address_forms_of_the_resolver_are_refused() -> None:
    """Chromium writes addresses plainly; another client of the proxy might not."""
    resolver = SystemResolver()
    try:
        for host in ("127.1", "0x7f.1", "2130706433", "0177.0.0.1"):
            with pytest.raises(UnreachableError, match="loopback"):
                await EgressPolicy(AllowList.parse(""), resolver).addresses(host)
    finally:
        resolver.close()
