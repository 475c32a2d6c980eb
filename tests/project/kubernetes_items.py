"""Rendered Kubernetes manifests, and what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Item = dict[str, Any]


def of_kind(items: list[Item], kind: str) -> Iterator[Item]:
    return (item for item in items if item["kind"] == kind)


def one(items: list[Item], kind: str, name: str) -> Item:
    (found,) = [item for item in of_kind(items, kind) if item["metadata"]["name"] == name]
    return found


def pod(items: list[Item], name: str) -> Item:
    spec: Item = one(items, "Deployment", name)["spec"]["template"]["spec"]
    return spec


def containers(items: list[Item]) -> Iterator[tuple[Item, Item]]:
    for deployment in of_kind(items, "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        for container in spec.get("initContainers", []) + spec["containers"]:
            yield spec, container


def environment(items: list[Item], container: Item) -> dict[str, str]:
    """The container's environment, with a made-up word for each secret."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= one(items, "ConfigMap", source["configMapRef"]["name"])["data"]
    for entry in container.get("env", []):
        found[entry["name"]] = entry.get("value", "postgresql://operator@postgresql/operator")
    return found
