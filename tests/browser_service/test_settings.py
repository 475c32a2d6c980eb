"""Settings of the browser service."""

from __future__ import annotations

import pytest

from operator_svc.errors import ConfigurationError
from operator_svc.settings import BrowserSettings, load


def test_settings_without_a_token_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="no token"):
        load(BrowserSettings, {})


def test_own_token_is_preferred_to_the_token_of_operator() -> None:
    settings, _ = load(BrowserSettings, {"OPERATOR_TOKEN": "a", "BROWSER_TOKEN": "b"})
    assert settings.token == "b"
    settings, _ = load(BrowserSettings, {"OPERATOR_TOKEN": "a"})
    assert settings.token == "a"
