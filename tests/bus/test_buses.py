"""Messages of each bus, without the polls that would find the same out later."""

from __future__ import annotations

import pytest

from operator_svc.services import maintenance
from tests.bus.conftest import talk
from tests.fakes.eventually import eventually
from tests.fakes.pods import ANYBODY, Pods, chat

pytestmark = pytest.mark.usefixtures("no_polls")


@pytest.fixture
def no_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that no message tells is found out."""
    monkeypatch.setattr(maintenance, "POLL_INTERVAL", 3600.0)


async def test_news_come_by_the_bus_alone(bus_pods: Pods) -> None:
    await talk(bus_pods, "s")


async def test_a_cancel_on_another_pod_stops_the_reply(bus_pods: Pods) -> None:
    one, two = bus_pods.all[0], bus_pods.all[-1]
    accepted = await chat(one, session_id="s")
    bus_pods.switch.say("begun")
    await eventually(lambda: accepted.running and not accepted.running.stream.empty)
    view = await two.services.replies.cancel(ANYBODY, accepted.reply_id)
    assert view.status == "cancelled"


async def test_a_session_that_another_pod_deletes_ends_for_its_clients(bus_pods: Pods) -> None:
    one, two = bus_pods.all[0], bus_pods.all[-1]
    reader = await talk(bus_pods, "s")
    await one.services.sessions.delete(ANYBODY, "s")
    await reader.until(lambda: reader.gone_at)
    assert reader.subscription is not None
    reader.subscription.close()
    assert not two.core.hub.watched
