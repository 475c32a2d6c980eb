"""The stores of one database."""

from __future__ import annotations

import pytest

from operator_svc.db import Database
from tests.stores.conversations import Stores


@pytest.fixture
def stores(database: Database) -> Stores:
    return Stores(database)
