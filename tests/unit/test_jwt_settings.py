"""The settings of signed tokens: which go together, and what ``check-config`` says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from operator_svc.errors import ConfigurationError
from operator_svc.services import jwt_verifier
from operator_svc.settings import Settings, load

URL = {"OPERATOR_JWT_JWKS_URL": "https://login.example/keys"}
NAMED = {"OPERATOR_JWT_ISSUER": "https://login.example", "OPERATOR_JWT_AUDIENCE": "operator"}


@pytest.mark.parametrize(
    "url", ["https://login.example/keys", "http://127.0.0.1:9/keys", "http://[::1]/keys",
            "http://localhost:8080/keys"]
)  # fmt: skip
def test_an_issuer_takes_the_place_of_a_token(url: str) -> None:
    settings, _ = load(Settings, {**NAMED, "OPERATOR_JWT_JWKS_URL": url})
    assert (settings.token, settings.jwks_url) == ("", url)


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        (URL, "signed tokens need OPERATOR_JWT_ISSUER"),
        ({**URL, "OPERATOR_JWT_ISSUER": "i"}, "signed tokens need OPERATOR_JWT_AUDIENCE"),
        ({**URL, **NAMED, "OPERATOR_JWT_JWKS_FILE": "keys.json"}, "are both set"),
        ({"OPERATOR_TOKEN": "t", **NAMED}, "needs OPERATOR_JWT_JWKS_URL or"),
        ({**NAMED, "OPERATOR_JWT_JWKS_URL": "http://login.example/keys"}, "https://"),
        ({**NAMED, "OPERATOR_JWT_JWKS_URL": "http://127.0.0.1.evil.example/"}, "https://"),
        ({**NAMED, "OPERATOR_JWT_JWKS_URL": "file:///keys"}, "must begin with"),
        ({**URL, **NAMED, "OPERATOR_JWT_LEEWAY": "301"}, "OPERATOR_JWT_LEEWAY"),
        ({**URL, **NAMED, "OPERATOR_JWT_USER_CLAIM": ""}, "OPERATOR_JWT_USER_CLAIM"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    environ: dict[str, str], problem: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(Settings, environ)
    assert problem in caught.value.problems[0]


def test_a_file_of_keys_that_cannot_be_used_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    (missing,) = jwt_verifier.problems(Settings(jwks_file=str(path)))
    assert missing == (
        f"OPERATOR_JWT_JWKS_FILE: {str(path)!r} cannot be used: No such file or directory"
    )
    path.write_text('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}')
    (useless,) = jwt_verifier.problems(Settings(jwks_file=str(path)))
    assert "it has no key of use" in useless
    assert jwt_verifier.problems(Settings()) == []
