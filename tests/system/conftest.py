"""Peers that answer as a test says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.peer_answers import PeerAnswers


@pytest.fixture
def http() -> Iterator[PeerAnswers]:
    with PeerAnswers() as mocked:
        yield mocked
