"""The manifests say the same as the settings: probes, ports, variables, and time to drain."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import operator_svc
from operator_svc.settings import TOKEN_NAMES, BrowserSettings, Settings, load, variables
from tests.project.conftest import FOLDERS, ROOT
from tests.project.kubernetes_items import Item, containers, environment, of_kind, one, pod
from tools import manifests

SPARE = 10
"""Seconds between the end of the drain and SIGKILL, for closing what is left."""
PATHS = {
    "operator": {"/health/live", "/health/ready"},
    "browser": {"/health"},
}
PROBED = {"operator": "metrics", "browser": "http"}
"""Names of the ports that probes ask."""


@pytest.fixture(params=sorted(FOLDERS))
def items(rendered: dict[str, list[Item]], request: pytest.FixtureRequest) -> list[Item]:
    return rendered[request.param]


def test_every_variable_is_a_setting_and_every_value_is_valid(items: list[Item]) -> None:
    known = {v.name for struct in (Settings, BrowserSettings) for v in variables(struct)}
    known |= {*TOKEN_NAMES, "HOME"}
    for _spec, container in containers(items):
        env = environment(items, container)
        assert env.keys() <= known
        if container["name"] == "browser":
            warnings = load(BrowserSettings, env)[1]
        else:
            warnings = load(Settings, env)[1]
        assert warnings == []


def test_secrets_come_by_reference_only(items: list[Item]) -> None:
    assert list(of_kind(items, "Secret")) == []
    secret = {"OPERATOR_TOKEN", "BROWSER_TOKEN", "OPERATOR_DATABASE_URL"}
    for _spec, container in containers(items):
        for entry in container.get("env", []):
            if entry["name"] in secret:
                assert entry["valueFrom"]["secretKeyRef"]["name"] == "operator"
    for configmap in of_kind(items, "ConfigMap"):
        assert not any("TOKEN" in name or "KEY" in name for name in configmap["data"])


def test_ports_are_those_of_the_settings(items: list[Item]) -> None:
    for _spec, container in containers(items):
        ports = {p["name"]: p["containerPort"] for p in container.get("ports", [])}
        if container["name"] == "operator":
            settings, _ = load(Settings, environment(items, container))
            assert ports == {"http": settings.port, "metrics": settings.metrics_port}
        elif container["name"] == "browser":
            browser, _ = load(BrowserSettings, environment(items, container))
            assert ports == {"http": browser.port}
    for service in of_kind(items, "Service"):
        name = service["spec"]["selector"]["app.kubernetes.io/name"]
        (container,) = pod(items, name)["containers"]
        ports = {p["name"]: p["containerPort"] for p in container["ports"]}
        assert {p["targetPort"]: p["port"] for p in service["spec"]["ports"]} == ports


def test_the_service_is_not_called_operator(items: list[Item]) -> None:
    names = {item["metadata"]["name"] for item in of_kind(items, "Service")}
    assert "operator-backend" in names
    assert "operator" not in names
    for deployment in of_kind(items, "Deployment"):
        assert deployment["spec"]["template"]["spec"]["enableServiceLinks"] is False


def test_peers_find_operator_where_the_operator_setting_says(items: list[Item]) -> None:
    (port,) = [
        p["port"]
        for p in one(items, "Service", "operator-backend")["spec"]["ports"]
        if p["name"] == "http"
    ]
    assert port == load(Settings, {"OPERATOR_AUTH": "off"})[0].port


def test_probes_ask_what_they_should(items: list[Item]) -> None:
    for deployment in of_kind(items, "Deployment"):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        probes = {
            kind: container[f"{kind}Probe"]["httpGet"]
            for kind in ("startup", "liveness", "readiness")
        }
        assert {probe["path"] for probe in probes.values()} == PATHS[container["name"]]
        assert {probe["port"] for probe in probes.values()} == {PROBED[container["name"]]}
        if container["name"] == "operator":
            # A restart mends neither the database nor a peer.
            assert probes["liveness"]["path"] == probes["startup"]["path"] == "/health/live"
            assert probes["readiness"]["path"] == "/health/ready"


def test_the_grace_period_is_prestop_and_drain_and_ten_seconds(items: list[Item]) -> None:
    spec = pod(items, "operator")
    (container,) = spec["containers"]
    settings, _ = load(Settings, environment(items, container))
    pre_stop = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] == pre_stop + settings.drain_timeout + SPARE


def test_the_schema_is_migrated_by_the_init_container_alone(items: list[Item]) -> None:
    spec = pod(items, "operator")
    (init,), (main,) = spec["initContainers"], spec["containers"]
    assert init["args"] == ["migrate"]
    assert main["args"] == ["serve"]
    assert environment(items, main)["OPERATOR_MIGRATE"] == "off"
    assert (
        environment(items, init)["OPERATOR_DATABASE_URL"]
        == environment(items, main)["OPERATOR_DATABASE_URL"]
    )
    assert init["image"] == main["image"]


def test_pods_have_no_rights_that_they_do_not_need(items: list[Item]) -> None:
    for spec, container in containers(items):
        assert spec["automountServiceAccountToken"] is False
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == context["runAsGroup"] == 10001
        assert context["seccompProfile"]["type"] in ("RuntimeDefault", "Localhost")
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]


def test_what_is_mounted_is_there_and_what_is_there_is_mounted(items: list[Item]) -> None:
    for deployment in of_kind(items, "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        volumes = {volume["name"] for volume in spec["volumes"]}
        for container in spec["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_selectors_select_the_pods(items: list[Item]) -> None:
    labels = {
        deployment["metadata"]["name"]: deployment["spec"]["template"]["metadata"]["labels"]
        for deployment in of_kind(items, "Deployment")
    }
    for deployment in of_kind(items, "Deployment"):
        wanted = deployment["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= labels[deployment["metadata"]["name"]].items()
    for kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
        for item in of_kind(items, kind):
            spec = item["spec"]
            selector = spec.get("podSelector") or spec["selector"]
            wanted = selector.get("matchLabels", selector)
            assert any(wanted.items() <= found.items() for found in labels.values()), item
    services = [item["metadata"]["labels"] for item in of_kind(items, "Service")]
    for monitor in of_kind(items, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        (service,) = [labels for labels in services if wanted.items() <= labels.items()]
        ports = {
            port["name"]
            for item in of_kind(items, "Service")
            if item["metadata"]["labels"] == service
            for port in item["spec"]["ports"]
        }
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports


def test_objects_of_the_prometheus_operator_come_with_components_only(
    rendered: dict[str, list[Item]],
) -> None:
    found = {
        name: sorted(
            f"{item['kind']}/{item['metadata']['name']}"
            for kind in ("ServiceMonitor", "PrometheusRule")
            for item in of_kind(items, kind)
        )
        for name, items in rendered.items()
    }
    own = ["PrometheusRule/operator", "ServiceMonitor/operator"]
    browser = ["PrometheusRule/operator-browser", "ServiceMonitor/operator-browser"]
    assert found == {
        "sqlite": [],
        "postgresql": [],
        "gateway": own,
        "ingress": sorted(own + browser),
    }


def test_clients_from_outside_reach_the_port_of_the_service(
    rendered: dict[str, list[Item]],
) -> None:
    for name in ("ingress", "gateway"):
        service = one(rendered[name], "Service", "operator-backend")
        (port,) = [port for port in service["spec"]["ports"] if port["name"] == "http"]
        if name == "ingress":
            spec = one(rendered[name], "Ingress", "operator")["spec"]
            (rule,) = spec["rules"]
            (path,) = rule["http"]["paths"]
            backend = path["backend"]["service"]
            assert (backend["name"], backend["port"]) == ("operator-backend", {"name": "http"})
            hosts = {rule["host"], *spec["tls"][0]["hosts"]}
        else:
            spec = one(rendered[name], "HTTPRoute", "operator")["spec"]
            (backend,) = spec["rules"][0]["backendRefs"]
            assert (backend["name"], backend["port"]) == ("operator-backend", port["port"])
            gateway = one(rendered[name], "Gateway", spec["parentRefs"][0]["name"])
            (listener,) = gateway["spec"]["listeners"]
            assert listener["name"] == spec["parentRefs"][0]["sectionName"]
            hosts = {*spec["hostnames"], listener["hostname"]}
        (operator,) = pod(rendered[name], "operator")["containers"]
        settings, _ = load(Settings, environment(rendered[name], operator))
        assert hosts == {urlsplit(settings.public_url).hostname}


def test_the_overlay_of_the_readme_has_its_own_host(tmp_path: Path) -> None:
    folder = ROOT / "deploy" / "kubernetes"
    blocks = re.findall(r"```yaml\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    (shown,) = [block for block in blocks if "components:" in block]
    text = shown.replace("- ../", f"- {os.path.relpath(folder, tmp_path)}/")
    (tmp_path / "kustomization.yaml").write_text(text)
    items = manifests.render(tmp_path)
    ingress = one(items, "Ingress", "operator")["spec"]
    assert ingress["rules"][0]["host"] == ingress["tls"][0]["hosts"][0] == "operator.example.com"
    (configuration,) = of_kind(items, "ConfigMap")
    assert configuration["data"]["OPERATOR_URL"] == "https://operator.example.com"


def test_the_images_are_of_this_version_and_of_the_dockerfile(items: list[Item]) -> None:
    titles = set(re.findall(r'image\.title="([^"]+)"', (ROOT / "Dockerfile").read_text()))
    for _spec, container in containers(items):
        name, _, tag = container["image"].partition(":")
        assert name in titles
        assert tag == operator_svc.__version__


def test_sqlite_has_one_pod_that_ends_before_the_next(rendered: dict[str, list[Item]]) -> None:
    items = rendered["sqlite"]
    spec = one(items, "Deployment", "operator")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}
    assert list(of_kind(items, "HorizontalPodAutoscaler")) == []
    claims = {item["metadata"]["name"] for item in of_kind(items, "PersistentVolumeClaim")}
    (volume,) = [v for v in pod(items, "operator")["volumes"] if v["name"] == "data"]
    assert volume["persistentVolumeClaim"]["claimName"] in claims
    for container in [
        *pod(items, "operator")["initContainers"],
        *pod(items, "operator")["containers"],
    ]:
        url = environment(items, container)["OPERATOR_DATABASE_URL"]
        (mount,) = [m for m in container["volumeMounts"] if m["name"] == "data"]
        assert url.startswith(f"sqlite:///{mount['mountPath']}/")
    assert (
        load(Settings, environment(items, pod(items, "operator")["containers"][0]))[0].browser_url
        == ""
    )


def test_postgresql_rolls_and_scales_without_a_gap(rendered: dict[str, list[Item]]) -> None:
    items = rendered["postgresql"]
    spec = one(items, "Deployment", "operator")["spec"]
    assert "replicas" not in spec, "the autoscaler's number would be overwritten at each apply"
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    scaler = one(items, "HorizontalPodAutoscaler", "operator")["spec"]
    assert scaler["minReplicas"] >= 3
    assert scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= 300
    budget = one(items, "PodDisruptionBudget", "operator")["spec"]
    assert budget["maxUnavailable"] < scaler["minReplicas"]


def test_make_manifests_finds_what_is_wrong(rendered: dict[str, list[Item]]) -> None:
    broken = one(rendered["sqlite"], "Deployment", "operator")
    assert manifests.problems(broken) == []
    spec = broken["spec"] | {"replica": 3}
    assert any("replica" in line for line in manifests.problems(broken | {"spec": spec}))
    assert manifests.problems({"kind": "Nonsense", "apiVersion": "v1", "metadata": {"name": "x"}})
