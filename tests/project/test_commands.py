"""``operator-svc``: what its commands print, and how they end."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.fakes.issuer import AUDIENCE, ISSUER, KEYS, jwk, token
from tests.project.commands import COMMAND, ROOT, environment, run
from tests.project.process import Process, as_nobody, get


def printed(folder: Path, code: str) -> str:
    """The output of a new process that runs ``code`` and succeeds."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_help_is_quick_to_import(tmp_path: Path) -> None:
    heavy = "{'aiohttp', 'asyncpg', 'msgspec', 'playwright', 'yoyo'} & set(sys.modules)"
    code = (
        "import sys; from operator_svc.cli import main\n"
        f"try: main(['--help'])\nfinally: print('heavy:', {heavy} or 'none')"
    )
    shown = printed(tmp_path, code)
    assert "heavy: none" in shown
    for name in ("serve", "dev", "devpeers", "migrate", "check-config"):
        assert re.search(rf"^  {name} ", shown, re.MULTILINE)


def test_serve_imports_nothing_that_it_can_do_without(tmp_path: Path) -> None:
    unused = "{'colorama', 'ctypes', 'difflib', 'greenlet', 'prompt_toolkit', 'pygments', 'rich'}"
    code = (
        "import sys; from operator_svc.commands.serve import import_structlog; import_structlog()\n"
        "import operator_svc.lifecycle, operator_svc.db.sqlite, uvloop\n"
        f"print({unused} & {{*sys.modules}} or 'none')\n"
        "import colorama, greenlet, rich.console"  # what does need them finds them
    )
    assert printed(tmp_path, code) == "none\n"


def test_what_is_imported_already_stays_so(tmp_path: Path) -> None:
    code = (
        "import sys, greenlet; from operator_svc.commands import serve; serve.import_structlog()\n"
        "print(sys.modules['greenlet'] is greenlet)"
    )
    assert printed(tmp_path, code) == "True\n"


def test_check_config_shows_what_is_in_force_without_secrets(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "check-config",
        VX11_GATEWAY_TOKEN="hush-hush",
        OPERATOR_PORT="9000",
        OPERATOR_DATABASE_URL="postgresql://operator:hush-hush@db/operator",
        OPERATOR_DATABASE_DIRECT_URL="postgresql://operator:hush-hush@one,two/operator",
        OPERATOR_DATABASE_READ_URL="postgresql://operator:hush-hush@three/operator",
        OPERATOR_PROT="1",
    )
    assert done.returncode == 0
    assert "hush-hush" not in done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert "OPERATOR_PORT=9000" in lines
    assert "OPERATOR_TOKEN=***" in lines
    assert "OPERATOR_DATABASE_URL=postgresql://operator:***@db/operator" in lines
    assert "OPERATOR_DATABASE_DIRECT_URL=postgresql://operator:***@one,two/operator" in lines
    assert "OPERATOR_DATABASE_READ_URL=postgresql://operator:***@three/operator" in lines
    assert "BROWSER_PORT=8012" in lines
    assert "OPERATOR_PROT" in done.stderr
    assert "OPERATOR_PORT" in done.stderr


@pytest.mark.parametrize("command", ["check-config", "serve"])
def test_the_file_of_tokens_is_checked_without_showing_it(tmp_path: Path, command: str) -> None:
    file = tmp_path / "tokens.jsonl"
    file.write_text('{"name": "ci", "token": "hush-hush", "role": "king"}\nhush-hush\n')
    done = run(tmp_path, command, OPERATOR_TOKEN="t", OPERATOR_TOKENS_FILE=str(file))
    assert done.returncode == 2
    assert "hush-hush" not in done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert [f"line {number}" in line for number, line in enumerate(lines, 1)] == [True, True]


@pytest.mark.parametrize("command", ["check-config", "serve", "dev"])
def test_each_wrong_value_is_one_line_and_nothing_starts(tmp_path: Path, command: str) -> None:
    done = run(tmp_path, command, OPERATOR_TOKEN="t", OPERATOR_PORT="70000", OPERATOR_TICK="often")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "operator-svc: OPERATOR_PORT is not valid (it is '70000'); allowed: integer, 0 to 65,535",
        "operator-svc: OPERATOR_TICK is not valid (it is 'often'); allowed: number, 0.01 to 5",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", ["OPERATOR_TOKENS_FILE", "OPERATOR_JWT_JWKS_FILE"])
def test_another_source_of_tokens_takes_the_place_of_the_token(tmp_path: Path, source: str) -> None:
    file = tmp_path / "source"
    settings = {source: str(file), "OPERATOR_PORT": "0"}
    if source == "OPERATOR_TOKENS_FILE":
        file.write_text('{"name": "ana", "token": "hers"}\n')
    else:
        file.write_text(json.dumps({"keys": [jwk(KEYS["ES256"], "ES256", kid="ES256")]}))
        settings |= {"OPERATOR_JWT_ISSUER": ISSUER, "OPERATOR_JWT_AUDIENCE": AUDIENCE}
    checked = run(tmp_path, "check-config", **settings)
    assert checked.returncode == 0, checked.stderr
    (warning,) = checked.stderr.splitlines()
    assert warning.startswith("warning: operator-browser: no token: set one of OPERATOR_TOKEN,")
    assert warning.endswith("BROWSER_TOKEN, or turn auth off with OPERATOR_AUTH=off")
    hers = "hers" if source == "OPERATOR_TOKENS_FILE" else token()
    with Process([*COMMAND, "serve"], environment(**settings), tmp_path) as process:
        url = process.ready() + "/operator/sessions?user_id=ana"
        assert get(url)[0] == 401
        assert get(url, hers)[0] == 200
        assert process.end() == 0


def test_serve_wants_a_token_or_to_be_told_that_there_is_none(tmp_path: Path) -> None:
    done = run(tmp_path, "serve")
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    for way in (
        "OPERATOR_TOKEN,",
        "OPERATOR_TOKENS_FILE",
        "OPERATOR_JWT_JWKS_URL",
        "OPERATOR_AUTH=off",
    ):
        assert way in said
    assert run(tmp_path, "check-config").stderr.splitlines()[-1] == said
    with Process(
        [*COMMAND, "serve"], environment(OPERATOR_AUTH="off", OPERATOR_PORT="0"), tmp_path
    ) as process:
        assert get(f"{process.ready()}/operator/sessions")[0] == 200
        assert process.end() == 0


def test_serve_says_what_is_wrong_with_the_database(tmp_path: Path) -> None:
    done = run(tmp_path, "serve", OPERATOR_TOKEN="t", OPERATOR_DATABASE_URL="mysql://x/y")
    assert done.returncode == 2
    assert "OPERATOR_DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_serve_says_that_its_port_is_taken(tmp_path: Path) -> None:
    env = environment(OPERATOR_TOKEN="t", OPERATOR_PORT="0")
    with Process([*COMMAND, "serve"], env, tmp_path) as process:
        port = process.ready().rpartition(":")[2]
        other = tmp_path / "other"
        other.mkdir()
        done = run(other, "serve", OPERATOR_TOKEN="t", OPERATOR_PORT=port)
        assert done.returncode != 0
        assert port in done.stderr + done.stdout
        assert "Traceback" not in done.stderr + done.stdout


def test_a_second_process_on_the_file_is_refused(tmp_path: Path) -> None:
    env = environment(OPERATOR_TOKEN="t", OPERATOR_PORT="0")
    with Process([*COMMAND, "serve"], env, tmp_path) as process:
        process.ready()
        done = run(tmp_path, "serve", OPERATOR_TOKEN="t", OPERATOR_PORT="0")
        assert done.returncode == 2
        assert "operator.db" in done.stderr
        assert "Traceback" not in done.stderr + done.stdout


def test_migrate_goes_forward_and_back_and_needs_no_token(tmp_path: Path) -> None:
    names = sorted(
        path.stem
        for path in (ROOT / "migrations" / "sqlite").glob("*.sql")
        if not path.name.endswith(".rollback.sql")
    )
    assert run(tmp_path, "migrate").stdout.split() == [w for n in names for w in ("applied", n)]
    assert "nothing to do" in run(tmp_path, "migrate").stdout
    back = run(tmp_path, "migrate", "--rollback", "1")
    assert back.stdout.split() == ["rolled", "back", names[-1]]
    assert run(tmp_path, "migrate").stdout.split() == ["applied", names[-1]]
    assert run(tmp_path, "migrate", "--rollback", "0").returncode == 2


def test_migrate_tells_an_absent_database_from_a_wrong_setting(tmp_path: Path) -> None:
    absent = run(tmp_path, "migrate", OPERATOR_DATABASE_URL="postgresql://x@127.0.0.1:1/y")
    assert absent.returncode == 75
    assert len(absent.stderr.splitlines()) == 1, absent.stderr
    wrong = run(tmp_path, "migrate", OPERATOR_DATABASE_URL="nonsense")
    assert wrong.returncode == 2


def test_serve_without_its_database_ends_with_75_and_one_line(tmp_path: Path) -> None:
    address = "postgresql://x:secret@127.0.0.1:1/y"
    absent = run(tmp_path, "serve", OPERATOR_TOKEN="t", OPERATOR_DATABASE_URL=address)
    assert absent.returncode == 75
    assert "the database cannot be reached: " in absent.stderr
    assert len(absent.stderr.splitlines()) == 1, absent.stderr
    assert "secret" not in absent.stderr + absent.stdout
    assert "Traceback" not in absent.stderr + absent.stdout


@pytest.mark.parametrize("command", ["serve", "migrate"])
@pytest.mark.parametrize("denied", [".", "operator.db"])
def test_a_place_that_may_not_be_written_ends_with_2_and_one_line(
    tmp_path: Path, denied: str, command: str
) -> None:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # tmp_path is closed to other users
    (folder / "operator.db").touch()
    folder.chmod(0o777)
    (folder / denied).chmod(0o555)
    try:
        done = subprocess.run(
            as_nobody([*COMMAND, command]),
            cwd="/",
            env=environment(
                OPERATOR_TOKEN="t", OPERATOR_DATABASE_URL=f"sqlite:///{folder}/operator.db"
            ),
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    finally:
        shutil.rmtree(folder)
    place = str(folder / denied)
    said = f"operator-svc: {place} cannot be used for the database: Permission denied\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_user_whom_postgresql_refuses_ends_with_2_and_one_line(
    tmp_path: Path, empty_postgresql_url: str, command: str
) -> None:
    address = empty_postgresql_url.replace("postgres@", "stranger:secret@")
    done = run(tmp_path, command, OPERATOR_TOKEN="t", OPERATOR_DATABASE_URL=address)
    assert done.returncode == 2
    assert done.stderr == 'operator-svc: PostgreSQL: role "stranger" does not exist\n'


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script_of_completion(tmp_path: Path, shell: str) -> None:
    done = run(tmp_path, "completion", shell)
    assert done.returncode == 0
    assert f"_OPERATOR_SVC_COMPLETE={shell}_complete" in done.stdout


def test_options_are_completed(tmp_path: Path) -> None:
    words = {"COMP_WORDS": "operator-svc chat --j", "COMP_CWORD": "2"}
    done = subprocess.run(
        [Path(sys.executable).with_name("operator-svc")],
        cwd=tmp_path,
        env=environment(_OPERATOR_SVC_COMPLETE="bash_complete", **words),
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert done.stdout == "plain,--json\n"


DOCKER = """#!/bin/sh
echo "$@" >> "$ASKED"
test "$1" != image || printf 'mirror/python@sha256:{digest}\n'
"""


@pytest.mark.parametrize("base", ["", "3.14-slim@sha256:" + "1" * 64, "3.13-slim"])
def test_both_images_are_built_on_one_base_image_by_its_digest(tmp_path: Path, base: str) -> None:
    docker, asked = tmp_path / "docker", tmp_path / "asked"
    docker.write_text(DOCKER.format(digest="0" * 64))
    docker.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(
        ["make", "image", f"BASE={base}"],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "ASKED": str(asked)},
        check=True,
    )
    dockerfile = (ROOT / "Dockerfile").read_text()
    (default,) = re.findall(r"^ARG PYTHON=(\S+)", dockerfile, re.MULTILINE)
    tag, _, digest = (base or default).partition("@")
    named = f"{tag}@{digest or 'sha256:' + '0' * 64}"
    builds = [line for line in asked.read_text().splitlines() if line.startswith("build ")]
    assert [
        f"--build-arg PYTHON={named} --target {target} " in line
        for target, line in zip(("operator", "browser"), builds, strict=True)
    ] == [True, True]
    assert all(f"base.digest={named.partition('@')[2]} ." in line for line in builds)
    froms = re.findall(r"^FROM (python:\S+)", dockerfile, re.MULTILINE)
    assert set(froms) == {"python:${PYTHON}"}
