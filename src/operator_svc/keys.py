"""What handlers find in the application, by typed keys."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from operator_svc.background import TaskOwner
from operator_svc.db import Database
from operator_svc.services.browser_tasks import BrowserTasks
from operator_svc.services.conversations import Conversations
from operator_svc.services.engines import EngineRankings
from operator_svc.services.feedback import EngineFeedback
from operator_svc.services.history import Histories
from operator_svc.services.live import Live
from operator_svc.services.replies import Replies
from operator_svc.services.sockets import Sockets
from operator_svc.services.switch_tuning import SwitchTuning
from operator_svc.services.system import System
from operator_svc.services.tokens import Tokens
from operator_svc.services.tool_calls import ToolCalls
from operator_svc.services.watching import Watching
from operator_svc.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that ``app.py`` has put together."""

    settings: Settings
    database: Database
    tasks: TaskOwner
    tokens: Tokens
    conversations: Conversations
    histories: Histories
    replies: Replies
    live: Live
    watching: Watching
    sockets: Sockets
    browser_tasks: BrowserTasks
    tool_calls: ToolCalls
    switch_tuning: SwitchTuning
    feedback: EngineFeedback
    engine_rankings: EngineRankings
    system: System


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)
