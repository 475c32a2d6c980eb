"""The settings of NATS: servers, credentials, and what of them is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from operator_svc.errors import ConfigurationError
from operator_svc.nats_settings import NatsServer, nats_credentials, nats_servers
from operator_svc.settings import Settings, load, masked

POSTGRESQL = {"OPERATOR_TOKEN": "t", "OPERATOR_DATABASE_URL": "postgresql://operator@db/operator"}
URL = {**POSTGRESQL, "OPERATOR_BUS_URL": "nats://nats:4222"}
SEED = "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y"
"""A seed of the bytes 0 to 31."""


def test_servers_are_read_with_their_secrets() -> None:
    assert nats_servers("nats://nats, tls://us%40er:pa%2Css@one:9, nats://t0ken@[::1]") == (
        NatsServer("nats://nats:4222", False, None, None, None),
        NatsServer("tls://one:9", True, "us@er", "pa,ss", None),
        NatsServer("nats://[::1]:4222", False, None, None, "t0ken"),
    )


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({**URL, "OPERATOR_BUS_URL": "redis://x"}, "begin with nats:// or tls://"),
        ({**URL, "OPERATOR_BUS_URL": "nats://a,hush@b"}, "begin with nats:// or tls://"),
        ({**URL, "OPERATOR_BUS_URL": "nats://u:hush@a:x"}, "no URL"),
        ({**URL, "OPERATOR_BUS_URL": "nats://:hush@"}, "name a host"),
        ({**URL, "OPERATOR_BUS_URL": "nats://hush@a/b"}, "nothing behind"),
        ({**URL, "OPERATOR_BUS_URL": "nats://a:0"}, "nothing behind"),
        ({**URL, "OPERATOR_BUS_CREDENTIALS": "hush"}, "the seed of its key"),
        ({**URL, "OPERATOR_BUS_CA": "/no/such/file"}, "OPERATOR_BUS_CA cannot be used: No such"),
        ({**URL, "OPERATOR_BUS_CERT": "/no/such/file"}, "OPERATOR_BUS_KEY cannot be used: No such"),
        ({**URL, "OPERATOR_BUS_CERT": "/dev/null"}, "OPERATOR_BUS_KEY cannot be used"),
        ({**URL, "OPERATOR_BUS_KEY": "/dev/null"}, "needs OPERATOR_BUS_CERT"),
        ({**POSTGRESQL, "OPERATOR_BUS_CREDENTIALS": "hush"}, "CREDENTIALS"),
        ({**POSTGRESQL, "OPERATOR_BUS_CA": "/dev/null"}, "OPERATOR_BUS_CA"),
        ({**POSTGRESQL, "OPERATOR_BUS_CERT": "/dev/null"}, "OPERATOR_BUS_CERT"),
        ({"OPERATOR_TOKEN": "t", "OPERATOR_BUS_URL": "nats://a"}, "needs PostgreSQL"),
    ],
)
def test_settings_that_cannot_work_are_refused_and_show_no_secret(
    environ: dict[str, str], problem: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(Settings, environ)
    assert problem in " ".join(caught.value.problems)
    assert "hush" not in " ".join(caught.value.problems)


def test_the_servers_are_shown_without_secrets() -> None:
    url = "nats://hush@one,tls://user:hush@two:9"
    settings, _ = load(Settings, {**URL, "OPERATOR_BUS_URL": url})
    shown = masked(settings)
    assert shown["OPERATOR_BUS_URL"] == "nats://one:4222,tls://two:9"
    assert "hush" not in str(shown)


def credentials(seed: str) -> str:
    """The text of a file as nsc writes it."""
    return (
        "-----BEGIN NATS USER JWT-----\nj.w.t\n------END NATS USER JWT------\n\n"
        "************************* IMPORTANT *************************\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )


def test_credentials_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "user.creds"
    path.write_text(credentials(SEED))
    settings, warnings = load(Settings, {**URL, "OPERATOR_BUS_CREDENTIALS_FILE": str(path)})
    assert warnings == []
    assert masked(settings)["OPERATOR_BUS_CREDENTIALS"] == "***"
    jwt, seed = nats_credentials(settings.bus_credentials)
    assert (jwt, seed) == ("j.w.t", bytes(range(32)))


@pytest.mark.parametrize("seed", [SEED[:-1] + "A", SEED[:-2], "lower", SEED.replace("AM", "MA")])
def test_a_seed_with_a_wrong_character_is_refused(seed: str) -> None:
    with pytest.raises(ValueError, match="seed that is none"):
        nats_credentials(credentials(seed))
