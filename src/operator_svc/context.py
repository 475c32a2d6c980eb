"""The services that handlers find in the application, by a typed key."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from operator_svc.background import TaskOwner
from operator_svc.bus import Bus
from operator_svc.db import Database
from operator_svc.services.auth import Authenticator, Tokens
from operator_svc.services.browser.tasks import BrowserTasks
from operator_svc.services.byte_budget import ByteBudget
from operator_svc.services.chat.chats import Chats
from operator_svc.services.chat.conversation import Conversations
from operator_svc.services.chat.foreground import Foreground
from operator_svc.services.chat.history import SessionHistory
from operator_svc.services.chat.models import Models
from operator_svc.services.chat.replies import Replies
from operator_svc.services.chat.sessions import Sessions
from operator_svc.services.chat.tool_calls import ToolCalls
from operator_svc.services.drain import DrainState
from operator_svc.services.live.clients import ClientRegistry
from operator_svc.services.live.subscriptions import Subscriptions
from operator_svc.services.switch.adjustments import Adjustments
from operator_svc.services.switch.engine_ranking import EngineRankings
from operator_svc.services.switch.feedback import EngineFeedback
from operator_svc.services.system.cached_views import System
from operator_svc.services.usage import UsageReports
from operator_svc.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The use cases, and what transports need besides them."""

    settings: Settings
    database: Database
    bus: Bus
    tasks: TaskOwner
    drain: DrainState
    tokens: Tokens
    authenticator: Authenticator
    chats: Chats
    replies: Replies
    conversations: Conversations
    foreground: Foreground
    models: Models
    sessions: Sessions
    history: SessionHistory
    tool_calls: ToolCalls
    subscriptions: Subscriptions
    byte_budget: ByteBudget
    clients: ClientRegistry
    browser_tasks: BrowserTasks
    adjustments: Adjustments
    feedback: EngineFeedback
    engine_rankings: EngineRankings
    system: System
    usage: UsageReports


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)
