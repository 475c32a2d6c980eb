"""Secrets in files: what is read, and what each file that cannot be used is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from operator_svc.errors import ConfigurationError
from operator_svc.settings import (
    SECRET_ATTRIBUTES,
    SECRET_NAMES,
    BrowserSettings,
    Settings,
    load,
    variables,
)
from tests.unit.test_bus_settings import SEED, credentials


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    return file


def refused(environ: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(Settings, environ)
    return "\n".join(caught.value.problems)


VALUES = {
    "SWITCH_HEADERS": '{"a": "b"}',
    "OPERATOR_BUS_URL": "nats://operator:pw@host",
    "OPERATOR_BUS_CREDENTIALS": credentials(SEED).rstrip(),
    **{n: "postgresql://operator:pw@host/db" for n in SECRET_NAMES if "DATABASE" in n},
}
BESIDE = {"OPERATOR_DATABASE_URL": "postgresql://host/db", "OPERATOR_BUS_URL": "nats://host"}
"""Settings that a secret of NATS needs."""


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_each_secret_is_read_from_its_file(name: str, tmp_path: Path) -> None:
    value = VALUES.get(name, "s3cret")
    file = tmp_path / "file"
    file.write_text(value + "\n")
    environ = {key: beside for key, beside in BESIDE.items() if key != name}
    settings, warnings = load(
        Settings, {**environ, f"{name}_FILE": str(file), "OPERATOR_AUTH": "off"}
    )
    assert value in [getattr(settings, v.attribute) for v in variables(Settings)]
    assert warnings == []


def test_every_setting_that_is_masked_has_a_file() -> None:
    names = {v.name for v in variables(Settings) if v.attribute in SECRET_ATTRIBUTES}
    assert names <= set(SECRET_NAMES)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_only_the_end_of_the_line_is_no_part_of_a_secret(ending: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(f" key {ending}".encode())
    environ = {"OPERATOR_TOKEN": "t", "SWITCH_API_KEY_FILE": str(file)}
    assert load(Settings, environ)[0].switch_api_key == " key "


def test_a_variable_and_its_file_together_are_refused(secret: Path) -> None:
    said = refused({"OPERATOR_TOKEN": "other", "OPERATOR_TOKEN_FILE": str(secret)})
    assert said == "OPERATOR_TOKEN and OPERATOR_TOKEN_FILE are both set: keep one of them"


def test_an_empty_variable_or_path_counts_as_not_set(secret: Path) -> None:
    environ = {"OPERATOR_TOKEN": "", "OPERATOR_TOKEN_FILE": str(secret), "BROWSER_TOKEN_FILE": ""}
    assert load(Settings, environ)[0].token == "s3cret"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (b"\xff\xfe", "it is not UTF-8 text"),
        (b"a\0b", "it is not text"),
        (b"x" * 65537, "it has more than 65,536 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_without_its_content(
    content: bytes | None, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    said = refused({"OPERATOR_TOKEN_FILE": str(file)})
    assert said == f"OPERATOR_TOKEN_FILE: {str(file)!r} cannot be used: {reason}"


def test_a_folder_is_no_file_of_a_secret(tmp_path: Path) -> None:
    assert "Is a directory" in refused({"SWITCH_API_KEY_FILE": str(tmp_path)})


def test_the_browser_service_reads_its_token_and_leaves_the_files_of_others(secret: Path) -> None:
    environ = {"BROWSER_TOKEN_FILE": str(secret), "OPERATOR_DATABASE_URL_FILE": "/nowhere"}
    assert load(BrowserSettings, environ)[0].token == "s3cret"
