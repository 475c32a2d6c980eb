"""The settings and files of the how-tos are right as they stand."""

from __future__ import annotations

import configparser
import re
import shutil
from pathlib import Path

import psycopg
import pytest
import yaml

from operator_svc.protocol.completion_body import ChatCompletionBody
from operator_svc.protocol.openai import ANY_MODEL
from operator_svc.rest.openai import completions
from operator_svc.secret_files import SUFFIX
from operator_svc.settings import SECRET_NAMES, Settings, load
from tests.fakes.pgbouncer import PgBouncer
from tests.fakes.postgres import PostgresServer
from tests.project.howtos import HOWTOS, blocks
from tools.manifests import render

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = [
    (page.stem, text) for page in sorted(HOWTOS.glob("*.md")) for text in blocks(page.name, "env")
]


class Ini(configparser.ConfigParser):
    """A file of systemd or PgBouncer, whose names keep their case."""

    def __init__(self, text: str) -> None:
        super().__init__(interpolation=None, delimiters=("=",))
        self.read_string(text)

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def test_there_are_environments() -> None:
    assert len(ENVIRONMENTS) > 5


@pytest.mark.parametrize(("page", "text"), ENVIRONMENTS)
def test_environment_starts_operator(page: str, text: str, tmp_path: Path) -> None:
    values = dict(line.split("=", 1) for line in text.splitlines())
    for name in SECRET_NAMES:
        if name + SUFFIX in values:  # the file of a secret, which stands elsewhere here
            (tmp_path / name).write_text("secret")
            values[name + SUFFIX] = str(tmp_path / name)
    if not {"OPERATOR_TOKEN", "OPERATOR_TOKEN" + SUFFIX} & values.keys():
        values["OPERATOR_TOKEN"] = "token"
    settings, warnings = load(Settings, values)
    assert warnings == []
    if "SWITCH_URL" in values:
        assert settings.switch_dialect == "openai"


@pytest.mark.parametrize(
    "page", ["model-servers.md", "reverse-proxies.md", "kubernetes.md", "chat-apps.md"]
)
def test_yaml_can_be_read(page: str) -> None:
    texts = blocks(page, "yaml")
    assert texts
    for text in texts:
        assert isinstance(yaml.safe_load(text), dict)


def test_unit_of_systemd_runs_the_installed_command_and_waits_for_the_drain() -> None:
    (text,) = blocks("systemd.md", "ini")
    service = Ini(text)["Service"]
    install = blocks("systemd.md", "sh")[0]
    folder = re.search(r"-m venv (\S+)", install)
    assert folder is not None
    assert service["ExecStart"] == f"{folder[1]}/bin/operator-svc serve"
    drain = load(Settings, {"OPERATOR_TOKEN": "token"})[0].drain_timeout
    assert int(service["TimeoutStopSec"]) >= drain + 10
    environment = blocks("systemd.md", "env")[0]
    credential = service["LoadCredential"].split(":")
    assert f"/run/credentials/operator.service/{credential[0]}" in environment
    assert credential[1] in install
    assert service["EnvironmentFile"] in (HOWTOS / "systemd.md").read_text()


def test_pgbouncer_knows_the_settings_and_takes_them(postgres_server: PostgresServer) -> None:
    (text,) = blocks("postgresql.md", "ini")
    given = Ini(text)["pgbouncer"]
    pooler = PgBouncer(postgres_server.folder, "transaction")
    try:
        with psycopg.connect(pooler.url("pgbouncer"), autocommit=True) as connection:
            known = {row[0] for row in connection.execute("SHOW CONFIG").fetchall()}
    finally:
        pooler.stop()
    assert set(given) <= known


def test_librechat_is_told_routes_and_headers_that_are_there() -> None:
    (text,) = blocks("chat-apps.md", "yaml")
    endpoints = {one["name"]: one for one in yaml.safe_load(text)["endpoints"]["custom"]}
    chats, titles = endpoints["Operator"], endpoints["Operator titles"]
    assert chats["titleEndpoint"] == titles["name"]
    called = {(call.method, call.path): call for call in completions.route}
    for endpoint in (chats, titles):
        assert endpoint["baseURL"].endswith("/v1")
        assert endpoint["models"]["default"] == [ANY_MODEL]
    assert ("GET", "/v1/models") in called, "fetch"
    asked = called["POST", "/v1/chat/completions"]
    known = {one.name for one in asked.parameters if one.place == "header"}
    assert known > set(chats["headers"])
    assert "headers" not in titles, "a title is no part of the session that they name"
    assert set(titles["addParams"]) <= set(ChatCompletionBody.__struct_fields__)
    assert set(chats["headers"].values()) == {
        "{{LIBRECHAT_BODY_CONVERSATIONID}}", "{{LIBRECHAT_USER_ID}}",
    }  # fmt: skip


def test_every_page_is_in_the_list() -> None:
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", (HOWTOS / "README.md").read_text()))
    assert listed == {page.name for page in HOWTOS.glob("*.md")} - {"README.md"}


def test_overlay_of_kubernetes_renders_with_its_own_host(tmp_path: Path) -> None:
    shutil.copytree(HOWTOS.parents[1] / "deploy" / "kubernetes", tmp_path / "kubernetes")
    overlay = tmp_path / "kubernetes" / "mine"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(blocks("kubernetes.md", "yaml")[0])
    items = {(item["kind"], item["metadata"]["name"]): item for item in render(overlay)}
    assert items["Ingress", "operator"]["spec"]["rules"][0]["host"] == "operator.example.com"
    (container,) = items["Deployment", "operator"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/operator-svc:0.1.0"


def test_commands_of_pip_take_what_is_ours_from_the_checkout() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("clients/*/README.md")]
    code = [file.read_text() for file in (*pages, *(ROOT / "src").rglob("*.py"))]
    commands = re.findall(r"pip install ([^\n\"`]+)", "\n".join(code))
    ours = [line for line in commands if re.search(r"(^|\s)'?\.|operator", line)]
    assert len(ours) > 4
    # The service needs the client, which stands beside it and in no registry.
    assert [line for line in ours if "./clients/python" not in line] == []
