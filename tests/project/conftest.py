"""The Kubernetes manifests, rendered once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.project.kubernetes_items import Item
from tools import manifests

ROOT = Path(__file__).parents[2]
FOLDERS = {
    folder.name: folder for folder in (*manifests.OVERLAYS.iterdir(), *manifests.EXAMPLES.iterdir())
}


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[Item]]:
    return {name: manifests.render(folder) for name, folder in FOLDERS.items()}
