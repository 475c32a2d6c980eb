"""The keys of signed tokens: they change, go, and cannot be had."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from operator_svc.services import jwt_keys
from tests.fakes.eventually import eventually
from tests.fakes.issuer import KEYS, OTHER, Issuer, jwk, token
from tests.rest.rest_service import Service
from tests.rest.signed_tokens import ME, me, trusting


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as issuer:
        yield issuer


@pytest.fixture
async def service(sqlite_url: str, issuer: Issuer) -> AsyncIterator[Service]:
    async with trusting(sqlite_url, issuer) as service:
        yield service


async def test_keys_that_change_are_fetched_once_for_all_who_wait(
    service: Service, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await me(service, token()))["user_id"] == "ana"
    issuer.keys.append(jwk(OTHER, "ES256", kid="new"))
    fresh = token(OTHER, headers={"kid": "new"})
    before = issuer.fetches
    assert await me(service, fresh) == 403  # the set is not asked again so soon
    assert issuer.fetches == before
    monkeypatch.setattr(jwt_keys, "MIN_INTERVAL", 0.0)
    found = await asyncio.gather(*(me(service, fresh) for _ in range(5)))
    assert [one["user_id"] for one in found] == ["ana"] * 5
    assert issuer.fetches == before + 1


async def test_the_age_of_the_keys_is_a_metric(
    service: Service, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await me(service, token())

    async def age() -> float:
        text = await (await service.get("/metrics", token=None)).text()
        found = re.search(r"^operator_jwt_keys_age_seconds (\S+)$", text, re.MULTILINE)
        assert found is not None
        return float(found[1])

    assert await age() < 60
    later = monotonic() + 1000
    monkeypatch.setattr(jwt_keys, "monotonic", lambda: later)
    issuer.answer = (500, "", {})
    fetches = issuer.fetches
    service.operator.services.tokens.reload()  # as SIGHUP does
    await eventually(lambda: issuer.fetches > fetches)
    assert 900 < await age() < 1060
    issuer.answer = None

    async def is_fetched() -> bool:
        service.operator.services.tokens.reload()
        return await age() == 0

    await eventually(is_fetched)


async def test_forged_kids_do_not_make_it_fetch_again_and_again(
    service: Service, issuer: Issuer
) -> None:
    await me(service, token())
    before = issuer.fetches
    for number in range(10):
        assert await me(service, token(OTHER, headers={"kid": f"forged-{number}"})) == 403
    assert issuer.fetches == before


async def test_a_key_that_is_withdrawn_ends_its_tokens(service: Service, issuer: Issuer) -> None:
    mine, other = token(), token(algorithm="RS256")
    assert (await me(service, mine))["user_id"] == (await me(service, other))["user_id"] == "ana"
    issuer.keys = [one for one in issuer.keys if one["kid"] != "ES256"]
    service.operator.services.tokens.reload()  # as SIGHUP does

    async def refused() -> bool:
        return bool(await me(service, mine) == 403)

    await eventually(refused)
    assert (await me(service, other))["user_id"] == "ana"


BROKEN: dict[str, tuple[int, str, dict[str, str]]] = {
    "error": (500, "", {}),
    "redirect": (302, "", {"Location": "http://127.0.0.1:1/keys"}),
    "no JSON": (200, "<html>", {}),
    "no keys": (200, '{"keys": []}', {}),
    "a list": (200, "[]", {}),
    "nested": (200, "[" * 100_000, {}),
    "shared secrets alone": (
        200,
        '{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "ES256"}]}',
        {},
    ),
    "too many keys": (200, json.dumps({"keys": [{}] * 101}), {}),
    "huge": (200, '{"keys": [' + " " * 300_000 + "]}", {}),
    "compressed": (200, "", {"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_without_keys_a_signed_token_is_asked_to_come_back_and_others_go_on(
    sqlite_url: str, issuer: Issuer, name: str
) -> None:
    issuer.answer = BROKEN[name]
    async with trusting(sqlite_url, issuer) as service:
        answer = await service.get(ME, token=token())
        assert answer.status == 503
        assert 1 <= int(answer.headers["Retry-After"]) <= 10
        assert (await answer.json())["error"] == "auth_unavailable"
        assert (await service.get(ME)).status == 200
        assert await me(service, "no-signed-one") == 403
        models = await service.get("/v1/models", token=token())
        assert models.status == 503


async def test_known_keys_are_good_while_the_issuer_is_away(
    service: Service, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await me(service, token()))["user_id"] == "ana"
    monkeypatch.setattr(jwt_keys, "MIN_INTERVAL", 0.0)
    issuer.answer = BROKEN["error"]
    assert await me(service, token(OTHER, headers={"kid": "new"})) == 503
    assert (await me(service, token(sub="bob")))["user_id"] == "bob"


async def test_a_key_that_openssl_cannot_read_leaves_the_others_good(
    sqlite_url: str, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_raw: bytes) -> Ed25519PublicKey:
        raise UnsupportedAlgorithm("ed25519 is not supported by this version of OpenSSL.")

    monkeypatch.setattr(Ed25519PublicKey, "from_public_bytes", refuse)
    async with trusting(sqlite_url, issuer) as service:
        assert (await me(service, token()))["user_id"] == "ana"
        assert await me(service, token(algorithm="EdDSA", headers={"kid": "EdDSA"})) == 403


async def test_keys_of_a_file_are_read_again_when_they_change(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [jwk(KEYS["ES256"], "ES256")]}))
    async with trusting(sqlite_url, jwks_file=str(path)) as service:
        # The only key of a set needs no id, and no `alg`: its curve says it.
        assert (await me(service, token(headers={})))["user_id"] == "ana"
        path.write_text(json.dumps({"keys": [jwk(OTHER, "ES256", kid="new")]}))
        monkeypatch.setattr(jwt_keys, "MIN_INTERVAL", 0.0)
        assert (await me(service, token(OTHER, headers={"kid": "new"})))["user_id"] == "ana"
        assert await me(service, token(headers={})) == 403
