"""The Dockerfile's steps, replayed in a folder: there is no Docker where the tests run.

The stages that lead to the image ``operator`` are carried out as they stand, each absolute path
of the image moved below a temporary folder; then the entry point is run as another user, who can
write to ``/data`` and ``/tmp`` only.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.project.process import NOBODY, Process, as_nobody, free_port, get, python_path, shell

ROOT = Path(__file__).parents[2]
REPLAYED = ("wheels", "environment", "operator")
MOVED = ("/build", "/wheels", "/opt/operator", "/data")
TOKEN = "image-test"

Step = tuple[str, str]


def stages() -> dict[str, list[Step]]:
    """The instructions of each stage: a word, and the rest of it on one line."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    found: dict[str, list[Step]] = {}
    name = ""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            name = rest.split()[-1]
            found[name] = []
        elif name and word:
            found[name].append((word, rest))
    return found


class Image:
    """The result of the replayed stages: files below ``folder``, and how to run them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env: dict[str, str] = {}
        self.entrypoint: list[str] = []
        self.command: list[str] = []
        self.health: list[str] = []
        self._cwd = folder

    def replay(self, steps: list[Step]) -> None:
        """Carry out the instructions of one stage."""
        for word, rest in steps:
            getattr(self, f"_{word.lower()}")(rest)

    def inside(self, text: str) -> str:
        """``text`` with each path of the image moved below the folder."""
        for path in MOVED:
            text = re.sub(rf"(?<![\w.-]){path}(?![\w.-])", f"{self.folder}{path}", text)
        return text

    def _env(self, rest: str) -> None:
        for pair in shlex.split(rest):
            name, _, value = pair.partition("=")
            self.env[name] = self.inside(value).replace("$PATH", self.env.get("PATH", ""))

    def _workdir(self, rest: str) -> None:
        self._cwd = Path(self.inside(rest))
        self._cwd.mkdir(parents=True, exist_ok=True)

    def _copy(self, rest: str) -> None:
        *sources, target = rest.split()
        if sources[0].startswith("--from="):
            # All stages share one folder here.
            assert Path(self.inside(target)).exists()
            return
        for source in sources:
            place = self._cwd / target / (source if len(sources) > 1 else "")
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=_ignored)
            else:
                shutil.copy(ROOT / source, place)

    def _run(self, rest: str) -> None:
        command = self.inside(re.sub(r"--mount=\S+\s", "", rest))
        env = {**os.environ, **self.env, "PATH": python_path()}
        run = shell(command, cwd=self._cwd, env=env)
        assert run.returncode == 0, f"{command}\n{run.stdout}\n{run.stderr}"

    def _entrypoint(self, rest: str) -> None:
        self.entrypoint = json.loads(rest)

    def _cmd(self, rest: str) -> None:
        self.command = json.loads(rest)

    def _healthcheck(self, rest: str) -> None:
        self.health = json.loads(rest[rest.index("CMD ") + 4 :])

    def _label(self, rest: str) -> None:
        assert "org.opencontainers.image." in rest

    def _user(self, rest: str) -> None:
        assert rest.split(":")[0] not in ("0", "root")

    def _volume(self, rest: str) -> None:
        assert json.loads(rest) == ["/data"]

    def _expose(self, rest: str) -> None:
        assert rest == self.env["OPERATOR_PORT"]


def _ignored(folder: str, names: list[str]) -> set[str]:
    patterns = [
        line.removeprefix("**/")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("**/")
    ]
    return {name for name in names if any(fnmatch(name, pattern) for pattern in patterns)}


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    folder = Path(tempfile.mkdtemp(prefix="operator-image-"))
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir()
    if os.geteuid() == 0:
        os.chown(data, NOBODY, NOBODY)
    image = Image(folder)
    all_stages = stages()
    for name in REPLAYED:
        image.replay(all_stages[name])
    for name, value in _env_of(all_stages["base"]).items():
        image.env[name] = image.inside(value).replace("$PATH", os.environ["PATH"])
    if os.geteuid() != 0:
        subprocess.run(["chmod", "--recursive", "a-w", folder / "opt"], check=True)
    yield image
    subprocess.run(["chmod", "--recursive", "u+w", folder], check=True)
    shutil.rmtree(folder)


def _env_of(steps: list[Step]) -> dict[str, str]:
    pairs = [shlex.split(rest) for word, rest in steps if word == "ENV"]
    return dict(pair.split("=", 1) for line in pairs for pair in line)


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.timeout(300)
def test_it_holds_the_service_and_nothing_to_build_with(image: Image) -> None:
    site = next((image.folder / "opt" / "operator").glob("lib/python3*/site-packages"))
    names = {path.name.partition("-")[0].lower() for path in site.iterdir()}
    assert {"operator_svc", "aiohttp", "asyncpg", "uvloop", "opentelemetry_sdk"} <= names
    assert not names & {"pip", "setuptools", "wheel", "pytest", "playwright", "mypy"}
    assert list((site / "operator_svc" / "__pycache__").iterdir()), "no byte code was written"
    pins = dict(
        line.lower().replace("_", "-").split("==")
        for line in (ROOT / "constraints.txt").read_text().split()
    )
    for path in site.glob("*.dist-info"):
        name, _, version = path.name.removesuffix(".dist-info").lower().rpartition("-")
        if name != "operator_svc":
            assert pins[name.replace("_", "-").replace(".", "-")] == version


@pytest.mark.timeout(300)
def test_it_serves_as_another_user_on_read_only_files_and_ends_on_sigterm(image: Image) -> None:
    before = files(image.folder / "opt")
    env = image.env | {"OPERATOR_TOKEN": TOKEN, "OPERATOR_PORT": str(free_port())}
    command = as_nobody([*image.entrypoint, *image.command])
    with Process(command, env, image.folder / "data") as process:
        url = process.ready()
        assert get(f"{url.replace('0.0.0.0', '127.0.0.1')}/health/ready")[0] == 200
        healthy = subprocess.run(as_nobody(image.health), env=env, check=False)
        assert healthy.returncode == 0
        assert process.end(signal.SIGTERM) == 0, process.output
    assert (image.folder / "data" / "operator.db").exists()
    assert files(image.folder / "opt") == before, "something was written at run time"
    unhealthy = subprocess.run(as_nobody(image.health), env=env, check=False, capture_output=True)
    assert unhealthy.returncode != 0


@pytest.mark.timeout(300)
def test_other_commands_run_in_it_too(image: Image) -> None:
    env = image.env | {"OPERATOR_DATABASE_URL": f"sqlite:///{image.folder}/data/other.db"}
    with Process(as_nobody([*image.entrypoint, "migrate"]), env, image.folder) as process:
        process.line("applied 0001")
        assert process.wait() == 0, process.output
    with Process(as_nobody([*image.entrypoint, "serve"]), env, image.folder) as process:
        process.line("no token")
        assert process.wait() == 2, process.output


@pytest.mark.timeout(300)
def test_its_bill_of_materials_names_what_it_holds(image: Image, tmp_path: Path) -> None:
    subprocess.run(
        [
            "sh",
            ROOT / "tools" / "sbom",
            Path(sys.prefix) / "bin",
            image.folder / "wheels",
            tmp_path,
            "--no-validate",  # against the schema of CycloneDX, which takes longer than all else
        ],
        check=True,
    )
    bill = json.loads((tmp_path / "sbom-operator.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    site = next((image.folder / "opt" / "operator").glob("lib/python3*/site-packages"))
    assert {
        f"{part['name'].lower().replace('-', '_')}-{part['version']}" for part in bill["components"]
    } == {path.stem.lower() for path in site.glob("*.dist-info")}
    (licensed,) = [part for part in bill["components"] if part["name"] == "aiohttp"]
    assert licensed["licenses"]
    browser = json.loads((tmp_path / "sbom-browser.json").read_text())
    assert "playwright" in {part["name"] for part in browser["components"]}
    assert "timestamp" not in bill["metadata"], "it would differ from run to run"


def test_the_browser_image_ends_with_an_entry_point_of_this_package() -> None:
    steps = dict(stages()["browser"])
    entrypoint = json.loads(steps["ENTRYPOINT"])
    setup = (ROOT / "setup.cfg").read_text()
    assert f"{entrypoint[-1]} = operator_svc." in setup
    assert "chromium-headless-shell" in steps["RUN"]
    assert steps["USER"].split(":")[0] not in ("0", "root")


def test_the_context_has_what_is_copied_and_no_more() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {
        source
        for steps in stages().values()
        for word, rest in steps
        if word == "COPY" and not rest.startswith("--from=")
        for source in rest.split()[:-1]
    }
    assert "*" in lines
    assert copied == allowed
