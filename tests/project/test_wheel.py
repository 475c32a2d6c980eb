"""The wheel is complete: the service starts from it, far from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

import operator_svc
from tests.project.process import Process, get

ROOT = Path(__file__).parents[2]
TOKEN = "wheel-test"


def build(root: Path, names: Iterable[str], source: Path, out: Path) -> Path:
    """The wheel of a package, built from a copy of these: building writes beside the sources."""
    for name in names:
        if (root / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(root / name, source / name, ignore=ignored)
        else:
            shutil.copy(root / name, source)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source],
        check=True,
        capture_output=True,
    )
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the service."""
    names = ("src", "sql", "migrations", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
    folders = (tmp_path_factory.mktemp(name) for name in ("source", "dist"))
    return build(ROOT, names, *folders)


@pytest.fixture(scope="module")
def client_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the client for Python."""
    names = ("src", "pyproject.toml", "README.md", "LICENSE")
    folders = (tmp_path_factory.mktemp(name) for name in ("client-source", "client-dist"))
    return build(ROOT / "clients" / "python", names, *folders)


@pytest.fixture(scope="module")
def environment(wheel: Path, client_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with both wheels; what they need else is looked up in this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps",
         "--no-index", "--disable-pip-version-check", wheel, client_wheel],
        check=True,
    )  # fmt: skip
    site = sysconfig.get_path("purelib", vars={"base": str(folder)})
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_it_carries_what_is_no_code(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for folder in ("sql", "migrations"):
        files = {
            f"operator_svc/{file.relative_to(ROOT).as_posix()}"
            for file in (ROOT / folder).rglob("*.sql")
        }
        assert files
        assert files <= names
    code = {
        file.relative_to(ROOT / "src").as_posix()
        for file in (ROOT / "src" / "operator_svc").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert code <= names
    assert not any(name.startswith(("tests/", "bench/")) for name in names)
    assert any(name.endswith("LICENSE") for name in names)


def test_the_client_is_a_typed_package_of_its_own(wheel: Path, client_wheel: Path) -> None:
    assert client_wheel.name == f"operator_client-{operator_svc.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(client_wheel) as archive:
        names = archive.namelist()
    assert "operator_client/py.typed" in names
    assert not [name for name in names if not name.startswith("operator_client")]
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.startswith("operator_client")]


def test_the_service_starts_from_it(environment: Path, tmp_path: Path) -> None:
    env = {
        "PATH": os.environ["PATH"],
        "OPERATOR_TOKEN": TOKEN,
        "OPERATOR_PORT": "0",
        "OPERATOR_DATABASE_URL": f"sqlite:///{tmp_path}/operator.db",
    }
    command = environment / "bin" / "operator-svc"
    with Process([str(command), "serve"], env, tmp_path) as process:
        url = process.ready()
        status, body = get(f"{url}/health")
        assert status == 200, body
        assert get(f"{url}/health/ready")[0] == 200
        assert get(f"{url}/operator/sessions")[0] == 401
        status, body = get(f"{url}/operator/sessions", TOKEN)
        assert status == 200, body
        assert process.end() == 0, process.output


def test_it_is_the_installed_package_that_runs(environment: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        [environment / "bin" / "python", "-c",
         "import operator_client, operator_svc, operator_svc.db.queries as q;"
         "print(operator_client.__file__, operator_svc.__file__,"
         "      q.resource_folder('sql'), q.resource_folder('migrations'))"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        check=True,
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert run.stdout.count(str(environment)) == 4, run.stdout


def test_the_commands_know_their_version(environment: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        [environment / "bin" / "operator-svc", "--version"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        check=True,
        capture_output=True,
        text=True,
    )
    assert run.stdout.split()[-1] == operator_svc.__version__
