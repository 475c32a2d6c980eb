"""The stores of one database."""

from __future__ import annotations

from collections.abc import Sequence

from operator_svc.db import Database
from operator_svc.stores.browser_tasks import BrowserTaskStore
from operator_svc.stores.chat_keys import ChatKeyStore
from operator_svc.stores.conversation import ConversationStore
from operator_svc.stores.events import EventStore
from operator_svc.stores.feedback_hours import FeedbackHourStore
from operator_svc.stores.messages import MessageStore
from operator_svc.stores.pods import PodStore
from operator_svc.stores.reply_chunks import ReplyChunkStore
from operator_svc.stores.retention import RetentionStore
from operator_svc.stores.search import SearchIndexStore
from operator_svc.stores.session_keys import SessionKeyStore
from operator_svc.stores.sessions import SessionStore
from operator_svc.stores.switch_adjustments import AdjustmentStore
from operator_svc.stores.switch_feedback import FeedbackStore
from operator_svc.stores.tool_calls import ToolCallStore
from operator_svc.stores.usage import UsageStore


class Stores:
    """The tables of a database, one store each.

    ``reserved`` is the database on connections of its own, once for each way to it: neither what
    others wait for, nor a way that is lost or mute makes the lease late.
    """

    def __init__(self, database: Database, reserved: Sequence[Database]) -> None:
        self.sessions = SessionStore(database)
        self.messages = MessageStore(database)
        self.conversations = ConversationStore(database)
        self.chat_keys = ChatKeyStore(database)
        self.session_keys = SessionKeyStore(database)
        self.chunks = ReplyChunkStore(database)
        self.events = EventStore(database)
        self.tool_calls = ToolCallStore(database)
        self.browser_tasks = BrowserTaskStore(database)
        self.adjustments = AdjustmentStore(database)
        self.feedback = FeedbackStore(database)
        self.feedback_hours = FeedbackHourStore(database)
        self.usage = UsageStore(database)
        self.search_index = SearchIndexStore(database)
        self.retention = RetentionStore(database)
        self.pods = PodStore(*reserved)
