"""What handlers find in the application, by typed keys."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from operator_svc.background import TaskOwner
from operator_svc.db import Database
from operator_svc.services.auth import Tokens
from operator_svc.services.browser.tasks import BrowserTasks
from operator_svc.services.chat.chats import Chats
from operator_svc.services.chat.history import Histories
from operator_svc.services.chat.reply_writer import ReplyWriter
from operator_svc.services.chat.tool_calls import ToolCalls
from operator_svc.services.drain import DrainState
from operator_svc.services.live.clients import ClientRegistry
from operator_svc.services.live.hub import SessionHub
from operator_svc.services.live.subscriptions import Subscriptions
from operator_svc.services.switch.adjustments import Adjustments
from operator_svc.services.switch.engine_ranking import EngineRankings
from operator_svc.services.switch.feedback import EngineFeedback
from operator_svc.services.system.cached_views import System
from operator_svc.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that ``app.py`` has put together."""

    settings: Settings
    database: Database
    tasks: TaskOwner
    drain: DrainState
    tokens: Tokens
    chats: Chats
    histories: Histories
    reply_writer: ReplyWriter
    hub: SessionHub
    subscriptions: Subscriptions
    clients: ClientRegistry
    browser_tasks: BrowserTasks
    tool_calls: ToolCalls
    adjustments: Adjustments
    feedback: EngineFeedback
    engine_rankings: EngineRankings
    system: System


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)
