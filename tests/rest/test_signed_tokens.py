"""Signed tokens (JWTs) of an issuer, beside the tokens of the settings."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from operator_svc.services import auth, jwt_verifier
from tests.fakes.eventually import eventually
from tests.fakes.issuer import AUDIENCE, ISSUER, KEYS, OTHER, Issuer, jwk, token
from tests.rest.rest_service import Service, running
from tests.rest.signed_tokens import ME, me, trusting

HOUR = 3600


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as issuer:
        yield issuer


@pytest.fixture
async def service(sqlite_url: str, issuer: Issuer) -> AsyncIterator[Service]:
    async with trusting(sqlite_url, issuer) as service:
        yield service


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_token_of_each_algorithm_is_the_client_that_its_claims_name(
    service: Service, algorithm: str
) -> None:
    found = await me(service, token(algorithm=algorithm))
    assert found == {"name": "jwt:ana", "role": "client", "user_id": "ana"}


async def test_a_token_sees_the_sessions_of_its_user_alone(
    database_url: str, issuer: Issuer
) -> None:
    ana, bob = token(), token(sub="bob")
    operator = token(sub="olga", roles=["reader", "operator"])
    async with trusting(database_url, issuer) as service:
        await service.chat(session_id="of-ana")
        body = {"message": "hi", "session_id": "hers"}
        bearer = {"Authorization": f"Bearer {ana}"}
        chat = await service.post("/operator/chat", body, token=None, headers=bearer)
        assert chat.status == 200
        assert (await service.get("/operator/session/hers", token=ana)).status == 200
        for other in (bob, token(sub="ana", iss=None)):
            assert (await service.get("/operator/session/hers", token=other)).status in (404, 403)
        listed = await (await service.get("/operator/sessions", token=operator)).json()
        assert {one["session_id"] for one in listed["sessions"]} == {"of-ana", "hers"}
        assert await me(service, operator) == {
            "name": "jwt:olga", "role": "operator", "user_id": None,
        }  # fmt: skip
        metrics = await (await service.get("/metrics")).text()
        assert 'operator_token_requests_total{token="jwt"}' in metrics
        assert "jwt:ana" not in metrics


@pytest.mark.parametrize(
    ("settings", "claims", "found"),
    [
        ({"jwt_user_claim": "email"}, {"email": "ana@x.example"}, ("client", "ana@x.example")),
        ({"jwt_role_claim": "realm.roles"}, {"realm": {"roles": ["operator"]}}, ("operator", None)),
        ({"jwt_role_claim": "https://x.y/role"}, {"https://x.y/role": "operator"},
         ("operator", None)),
        ({"jwt_operator_role": "admin"}, {"roles": "admin"}, ("operator", None)),
        ({"jwt_operator_role": "admin"}, {"roles": ["operator"]}, ("client", "ana")),
        ({}, {"roles": {"operator": True}}, ("client", "ana")),
        ({}, {"roles": "operators"}, ("client", "ana")),
        ({}, {"aud": ["others", AUDIENCE]}, ("client", "ana")),
    ],
)  # fmt: skip
async def test_claims_say_user_and_role(
    sqlite_url: str, issuer: Issuer, settings: Any, claims: Any, found: Any
) -> None:
    async with trusting(sqlite_url, issuer, **settings) as service:
        caller = await me(service, token(**claims))
        assert (caller["role"], caller["user_id"]) == found


def encoded(part: Any) -> str:
    """A part of a token."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(algorithm: str, kid: str = "ES256") -> str:
    """A token without a signature."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + HOUR, "sub": "ana"}
    return f"{encoded({'alg': algorithm, 'typ': 'JWT', 'kid': kid})}.{encoded(claims)}."


def signed_by_public_key() -> str:
    """A token whose HMAC has a public key for its secret, as confused verifiers take it."""
    public = json.dumps(jwk(KEYS["RS256"], "RS256", kid="RS256")).encode()
    head = unsigned("HS256", "RS256").rstrip(".")
    return f"{head}.{encoded(hmac.digest(public, head.encode(), 'sha256'))}"


def with_odd_payload() -> str:
    """A token whose payload was exchanged after it was signed."""
    head, _, signature = token().split(".")
    return (
        f"{head}.{encoded({'iss': ISSUER, 'aud': AUDIENCE, 'exp': 9e9, 'sub': 'eve'})}.{signature}"
    )


WRONG: dict[str, Callable[[], str]] = {
    "another audience": lambda: token(aud="another"),
    "no audience": lambda: token(aud=None),
    "another issuer": lambda: token(iss="https://evil.example"),
    "no issuer": lambda: token(iss=None),
    "expired": lambda: token(exp=time.time() - HOUR),
    "no expiry": lambda: token(exp=None),
    "odd expiry": lambda: token(exp="tomorrow"),
    "infinite expiry": lambda: token(exp=float("inf")),
    "not yet valid": lambda: token(nbf=time.time() + HOUR),
    "issued later": lambda: token(iat=time.time() + HOUR),
    "another key": lambda: token(OTHER),
    "unknown kid": lambda: token(OTHER, headers={"kid": "forged"}),
    "no kid": lambda: token(headers={}),
    "kid of another kind": lambda: token(headers={"kid": "RS256"}),
    "kid that is no text": lambda: f"{encoded({'alg': 'ES256', 'kid': ['ES256']})}.{encoded({})}.x",
    "key of its own": lambda: token(OTHER, headers={"jwk": jwk(OTHER, "ES256"), "kid": "own"}),
    "critical extension": lambda: token(headers={"kid": "ES256", "crit": ["x"], "x": 1}),
    "no algorithm": lambda: unsigned("none"),
    "no algorithm, in capitals": lambda: unsigned("NoNe"),
    "secret of the public key": signed_by_public_key,
    "other payload": with_odd_payload,
    "no user": lambda: token(sub=None),
    "user that is no text": lambda: token(sub=7),
    "empty user": lambda: token(sub=""),
    "long user": lambda: token(sub="a" * 129),
    "user with control characters": lambda: token(sub="a\u0000b"),
    "huge": lambda: token(extra="x" * 6200),
    "nested header": lambda: f"{encoded(b'[' * 3000)}.e30.e30",
    "not base64": lambda: "é.b.c".encode("ascii", "replace").decode(),
    "nothing in it": lambda: "..",
}


async def test_wrong_tokens_are_refused_and_never_shown(
    sqlite_url: str, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "WRONG_TOKENS", 1000)
    statuses, details = {}, {}
    async with trusting(sqlite_url, issuer) as service:
        for name, make in WRONG.items():
            wrong = make()
            with capture_logs() as logs:
                answer = await service.get(ME, token=wrong)
                details[name] = await answer.text()
            statuses[name] = answer.status
            shown = details[name] + str(logs)
            for part in wrong.split("."):
                assert len(part) < 9 or part not in shown, name
    # The head of a request has no room for what is much longer than a token.
    assert statuses == {name: 400 if name == "huge" else 403 for name in WRONG}
    assert {name for name in WRONG if "the token has expired" in details[name]} == {"expired"}


async def test_a_token_has_expired_when_the_leeway_is_over(sqlite_url: str, issuer: Issuer) -> None:
    just = token(exp=time.time() - 20)
    async with trusting(sqlite_url, issuer, jwt_leeway=HOUR / 12) as service:
        assert (await me(service, just))["user_id"] == "ana"
    async with trusting(sqlite_url, issuer, jwt_leeway=0.0) as service:
        assert await me(service, just) == 403


async def test_a_waiting_call_ends_with_its_token(
    sqlite_url: str, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"message": "[[stall_first]] hello"}
    async with trusting(sqlite_url, issuer, switch_first_byte_timeout=30.0) as service:
        call = asyncio.ensure_future(service.post("/operator/chat", body, token=token()))
        await eventually(lambda: service.switch.total.calls == 1)
        later = time.time() + HOUR
        monkeypatch.setattr(jwt_verifier, "now", lambda: later)
        assert (await call).status == 403


async def test_without_an_issuer_a_signed_token_is_a_wrong_one(sqlite_url: str) -> None:
    async with running(sqlite_url) as service:
        assert await me(service, token()) == 403


def test_what_signed_tokens_need_is_imported_for_them_alone() -> None:
    asked = "import sys, operator_svc.lifecycle; print({'jwt', 'cryptography'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True)
    assert run.stdout == "set()\n"
