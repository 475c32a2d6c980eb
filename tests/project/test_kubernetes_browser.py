"""The manifests of the browser service: reached by Operator, reaching the web, with room."""

from __future__ import annotations

from operator_svc.settings import BrowserSettings, Settings, load
from tests.project.kubernetes_items import Item, environment, of_kind, one, pod


def test_the_browser_is_reached_where_its_service_is(rendered: dict[str, list[Item]]) -> None:
    items = rendered["postgresql"]
    (container,) = pod(items, "operator")["containers"]
    settings, _ = load(Settings, environment(items, container))
    service = one(items, "Service", "operator-browser")
    (port,) = service["spec"]["ports"]
    assert settings.browser_url == f"http://{service['metadata']['name']}:{port['port']}"


def test_the_browser_reaches_the_web_and_nothing_within(rendered: dict[str, list[Item]]) -> None:
    policy = one(rendered["postgresql"], "NetworkPolicy", "operator-browser")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    web = [rule for rule in policy["egress"] if any("ipBlock" in to for to in rule["to"])]
    (rule,) = web
    assert {port["port"] for port in rule["ports"]} == {80, 443}
    (v4,) = [to["ipBlock"] for to in rule["to"] if to["ipBlock"]["cidr"] == "0.0.0.0/0"]
    private = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"}
    assert private <= set(v4["except"])
    for item in of_kind(rendered["postgresql"], "NetworkPolicy"):
        for rule in item["spec"].get("egress", []):
            assert rule["ports"], "every way out names its ports"
            assert rule["to"], "every way out names its end"


def test_chromium_has_its_sandbox_and_room_to_write(rendered: dict[str, list[Item]]) -> None:
    spec = pod(rendered["postgresql"], "operator-browser")
    (container,) = spec["containers"]
    assert environment(rendered["postgresql"], container)["BROWSER_SANDBOX"] == "on"
    assert spec["securityContext"]["seccompProfile"] == {
        "type": "Localhost",
        "localhostProfile": "profiles/operator-browser.json",
    }
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert mounts.keys() == {
        "/tmp",
        "/dev/shm",
        environment(rendered["postgresql"], container)["HOME"],
    }
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert all("emptyDir" in volumes[name] for name in mounts.values())
    assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"


def test_browser_memory_limit_holds_the_budgets_of_all_pages(
    rendered: dict[str, list[Item]],
) -> None:
    (container,) = pod(rendered["postgresql"], "operator-browser")["containers"]
    defaults = BrowserSettings(token="x")
    limit = int(container["resources"]["limits"]["memory"].removesuffix("Gi")) * 2**30
    assert limit >= defaults.pages * defaults.page_memory + 2**30
