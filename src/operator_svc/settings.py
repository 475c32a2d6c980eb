"""The settings: read once from the environment into a frozen struct.

Each field names its environment variable, its default, its limits and its meaning in one
place; the table in ``docs/operations.md`` is generated from here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, field

from operator_svc.errors import ConfigurationError, NoTokenError
from operator_svc.nats_settings import nats_credentials, nats_servers, tls_context
from operator_svc.secret_files import SUFFIX, read_secret_files
from operator_svc.settings_checks import (
    allowed_values,
    body_of,
    header_value,
    headers_of,
    jwks_url,
    origins_of,
    public_url,
    split_url,
    without_secrets,
)

Seconds = Annotated[float, Meta(gt=0, le=86400)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
PORT_MAX = 65535
Port = Annotated[int, Meta(ge=0, le=PORT_MAX)]

TOKEN_NAMES = (
    "OPERATOR_TOKEN",
    "VX11_OPERATOR_TOKEN",
    "VX11_TENTACULO_LINK_TOKEN",
    "VX11_GATEWAY_TOKEN",
    "API_TOKEN",
)
"""Variables that may hold the token; the first one set wins (the modules of VX11 share it)."""

NATS_CHECKPOINT = 1.0
"""Seconds between checkpoints where NATS shows text to other processes."""

DEFAULT_ORIGINS = (
    "http://localhost:8011,http://localhost:8020,http://127.0.0.1:8011,http://127.0.0.1:8020"
)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The effective settings of ``operator-svc``. Times are seconds, sizes are bytes."""

    host: Annotated[str, Meta(description="Address to listen on.")] = field(
        default="127.0.0.1", name="OPERATOR_HOST"
    )
    port: Annotated[Port, Meta(description="Port to listen on; 0 picks a free one.")] = field(
        default=8011, name="OPERATOR_PORT"
    )
    workers: Annotated[
        int,
        Meta(
            ge=1,
            le=256,
            description="Number of processes that share the port; more than 1 requires PostgreSQL"
            " and Linux. `serve --workers` overrides it.",
        ),
    ] = field(default=1, name="OPERATOR_WORKERS")
    public_url: Annotated[
        str,
        Meta(
            description="Public base URL of this service, for example behind a proxy. Requests are"
            " served with its path before theirs, and without it."
        ),
    ] = field(default="", name="OPERATOR_URL")
    database_url: Annotated[
        str, Meta(description="`sqlite:///path` or `postgresql://user@host/name`.", min_length=1)
    ] = field(default="sqlite:///./data/operator.db", name="OPERATOR_DATABASE_URL")
    database_direct_url: Annotated[
        str,
        Meta(
            description="Direct URL of the same PostgreSQL database, required behind a pooler in"
            " transaction mode: for notifications, the lease and migrations."
        ),
    ] = field(default="", name="OPERATOR_DATABASE_DIRECT_URL")
    database_read_url: Annotated[
        str,
        Meta(
            description="Standby of the PostgreSQL database that serves history, export and search"
            " while it is up to date; empty: none."
        ),
    ] = field(default="", name="OPERATOR_DATABASE_READ_URL")
    bus_url: Annotated[
        str,
        Meta(
            description="NATS servers for notifications between processes, nats:// or tls://,"
            " comma-separated; requires PostgreSQL. Empty: PostgreSQL's NOTIFY."
        ),
    ] = field(default="", name="OPERATOR_BUS_URL")
    bus_credentials: Annotated[
        str, Meta(description="Content of a credentials file for the NATS servers.")
    ] = field(default="", name="OPERATOR_BUS_CREDENTIALS")
    bus_ca: Annotated[
        str, Meta(description="CA file for the NATS servers' certificates; empty: the system's.")
    ] = field(default="", name="OPERATOR_BUS_CA")
    bus_cert: Annotated[
        str, Meta(description="File with the certificate that proves Operator to the NATS servers.")
    ] = field(default="", name="OPERATOR_BUS_CERT")
    bus_key: Annotated[
        str,
        Meta(description="File with that certificate's key; empty: it is in the same file."),
    ] = field(default="", name="OPERATOR_BUS_KEY")
    db_pool_size: Annotated[
        int,
        Meta(
            ge=1,
            le=500,
            description="PostgreSQL connections (the standby has as many), or SQLite readers.",
        ),
    ] = field(default=10, name="OPERATOR_DB_POOL_SIZE")
    db_timeout: Annotated[
        Seconds, Meta(description="Maximum wait for a connection or a query.")
    ] = field(default=10.0, name="OPERATOR_DB_TIMEOUT")
    migrate: Annotated[
        Literal["on", "off"], Meta(description="Run pending migrations at startup.")
    ] = field(default="on", name="OPERATOR_MIGRATE")
    max_body: Annotated[
        int, Meta(ge=1024, le=64 * 2**20, description="Maximum size of a request body.")
    ] = field(default=2**20, name="OPERATOR_MAX_BODY")

    auth: Annotated[Literal["token", "off"], Meta(description="Require a token from callers.")] = (
        field(default="token", name="OPERATOR_AUTH")
    )
    token: Annotated[
        str, Meta(description="Token of callers (role `operator`); sent to VX11's modules, too.")
    ] = field(default="", name="OPERATOR_TOKEN")
    tokens_file: Annotated[
        str,
        Meta(description="File with more tokens, one JSON object per line; see docs/security.md."),
    ] = field(default="", name="OPERATOR_TOKENS_FILE")
    jwks_url: Annotated[
        str,
        Meta(
            description="URL of the public keys (JWKS) that verify signed tokens (JWTs); https,"
            " or loopback."
        ),
    ] = field(default="", name="OPERATOR_JWT_JWKS_URL")
    jwks_file: Annotated[str, Meta(description="File with these keys, instead of the URL.")] = (
        field(default="", name="OPERATOR_JWT_JWKS_FILE")
    )
    jwt_issuer: Annotated[str, Meta(description="Required `iss` of signed tokens.")] = field(
        default="", name="OPERATOR_JWT_ISSUER"
    )
    jwt_audience: Annotated[str, Meta(description="Required `aud` of signed tokens.")] = field(
        default="", name="OPERATOR_JWT_AUDIENCE"
    )
    jwt_user_claim: Annotated[str, Meta(description="Claim that holds the user.", min_length=1)] = (
        field(default="sub", name="OPERATOR_JWT_USER_CLAIM")
    )
    jwt_role_claim: Annotated[
        str,
        Meta(
            description="Claim that holds the role or a list of roles; `a.b` is field"
            " b of object a.",
            min_length=1,
        ),
    ] = field(default="roles", name="OPERATOR_JWT_ROLE_CLAIM")
    jwt_operator_role: Annotated[
        str, Meta(description="Value of that claim that grants the role `operator`.", min_length=1)
    ] = field(default="operator", name="OPERATOR_JWT_OPERATOR_ROLE")
    jwt_leeway: Annotated[
        float, Meta(ge=0, le=300, description="Tolerated clock difference to the issuer.")
    ] = field(default=30.0, name="OPERATOR_JWT_LEEWAY")
    allowed_origins: Annotated[
        str, Meta(description="Origins that browsers may call from (CORS), comma-separated.")
    ] = field(default=DEFAULT_ORIGINS, name="OPERATOR_ALLOWED_ORIGINS")

    allowed_hosts: Annotated[
        str,
        Meta(
            description="With OPERATOR_AUTH=off, `Host` values served besides loopback"
            " and OPERATOR_URL."
        ),
    ] = field(default="", name="OPERATOR_ALLOWED_HOSTS")

    switch_url: Annotated[
        str, Meta(description="Upstream: Switch, or an OpenAI-compatible server.")
    ] = field(default="http://switch:8002", name="SWITCH_URL")
    switch_dialect: Annotated[
        Literal["vx11", "openai"],
        Meta(description="Protocol of the upstream: Switch's own, or OpenAI's chat completions."),
    ] = field(default="vx11", name="SWITCH_DIALECT")
    switch_model: Annotated[str, Meta(description="Model to request (openai dialect).")] = field(
        default="", name="SWITCH_MODEL"
    )
    switch_api_key: Annotated[
        str, Meta(description="API key, sent as a bearer token (openai dialect).")
    ] = field(default="", name="SWITCH_API_KEY")
    switch_headers: Annotated[
        str, Meta(description="Extra headers for the upstream, a JSON object of strings.")
    ] = field(default="", name="SWITCH_HEADERS")
    switch_body: Annotated[
        str, Meta(description="Extra fields for the body of each chat, a JSON object.")
    ] = field(default="", name="SWITCH_BODY")
    switch_think_tags: Annotated[
        Literal["on", "off"],
        Meta(description="Treat a `<think>` block at the start of a reply as reasoning."),
    ] = field(default="on", name="SWITCH_THINK_TAGS")
    hermes_url: Annotated[str, Meta(description="Hermes.")] = field(
        default="http://hermes:8003", name="HERMES_URL"
    )
    shub_url: Annotated[str, Meta(description="Shub-Niggurath.")] = field(
        default="http://shubniggurath:8007", name="SHUB_URL"
    )
    tentaculo_link_url: Annotated[str, Meta(description="Tentáculo Link, the gateway.")] = field(
        default="http://tentaculo_link:8000", name="TENTACULO_LINK_URL"
    )
    madre_url: Annotated[str, Meta(description="Madre.")] = field(
        default="http://madre:8001", name="MADRE_URL"
    )
    hormiguero_url: Annotated[str, Meta(description="Hormiguero.")] = field(
        default="http://hormiguero:8004", name="HORMIGUERO_URL"
    )
    manifestator_url: Annotated[str, Meta(description="Manifestator.")] = field(
        default="http://manifestator:8005", name="MANIFESTATOR_URL"
    )
    mcp_url: Annotated[str, Meta(description="MCP.")] = field(
        default="http://mcp:8006", name="MCP_URL"
    )
    spawner_url: Annotated[str, Meta(description="Spawner.")] = field(
        default="http://spawner:8008", name="SPAWNER_URL"
    )
    browser_url: Annotated[str, Meta(description="The browser service; empty: none.")] = field(
        default="http://127.0.0.1:8012", name="BROWSER_URL"
    )
    browser_token: Annotated[
        str, Meta(description="Token of the browser service; default: OPERATOR_TOKEN.")
    ] = field(default="", name="BROWSER_TOKEN")
    browser_tasks: Annotated[
        int, Meta(ge=1, le=256, description="Browser tasks that one process runs concurrently.")
    ] = field(default=4, name="OPERATOR_BROWSER_TASKS")
    browser_tasks_per_user: Annotated[
        int,
        Meta(
            ge=0, le=256, description="Concurrent browser tasks per user and process; 0: no limit."
        ),
    ] = field(default=3, name="OPERATOR_BROWSER_TASKS_PER_USER")

    switch_connect_timeout: Annotated[
        Seconds, Meta(description="Maximum wait for a connection to the upstream.")
    ] = field(default=3.0, name="OPERATOR_SWITCH_CONNECT_TIMEOUT")
    switch_first_byte_timeout: Annotated[
        Seconds, Meta(description="Maximum wait for the first byte of the upstream's response.")
    ] = field(default=30.0, name="OPERATOR_SWITCH_FIRST_BYTE_TIMEOUT")
    switch_idle_timeout: Annotated[
        Seconds, Meta(description="Maximum silence within the upstream's response.")
    ] = field(default=30.0, name="OPERATOR_SWITCH_IDLE_TIMEOUT")
    switch_total_timeout: Annotated[
        Seconds, Meta(description="Maximum duration of the upstream's response.")
    ] = field(default=300.0, name="OPERATOR_SWITCH_TOTAL_TIMEOUT")

    history_messages: Annotated[
        int, Meta(ge=0, le=1000, description="Earlier messages sent as context; 0: none.")
    ] = field(default=20, name="OPERATOR_HISTORY_MESSAGES")
    history_chars: Annotated[
        int, Meta(ge=0, le=1_000_000, description="Maximum characters of this context.")
    ] = field(default=16_000, name="OPERATOR_HISTORY_CHARS")

    tick: Annotated[
        float,
        Meta(
            ge=0.01,
            le=5,
            description="Interval of notifications by PostgreSQL, and of OPERATOR_CHECKPOINT where"
            " that is 0 without NATS.",
        ),
    ] = field(default=0.1, name="OPERATOR_TICK")
    checkpoint: Annotated[
        float,
        Meta(
            ge=0,
            le=60,
            description="Interval at which the text of running replies is stored; 0: 1 with NATS,"
            " OPERATOR_TICK without it.",
        ),
    ] = field(default=0.0, name="OPERATOR_CHECKPOINT")
    lease_ttl: Annotated[
        float,
        Meta(
            ge=1,
            le=300,
            description="Time after which the lease of a process expires unless renewed.",
        ),
    ] = field(default=10.0, name="OPERATOR_LEASE_TTL")
    drain_timeout: Annotated[
        float,
        Meta(ge=0, le=3600, description="Time that running replies get to finish after SIGTERM."),
    ] = field(default=25.0, name="OPERATOR_DRAIN_TIMEOUT")
    heartbeat: Annotated[
        float, Meta(ge=0.1, le=600, description="Interval of websocket pings.")
    ] = field(default=25.0, name="OPERATOR_HEARTBEAT")
    disconnect_grace: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description=(
                "Time after which a call under /v1 whose client disconnected is cancelled,"
                " unless a retry takes it over."
            ),
        ),
    ] = field(default=3.0, name="OPERATOR_DISCONNECT_GRACE")
    auth_timeout: Annotated[
        Seconds, Meta(description="Maximum time for a websocket to authenticate.")
    ] = field(default=10.0, name="OPERATOR_AUTH_TIMEOUT")

    chat_rate: Annotated[
        int,
        Meta(ge=0, le=1_000_000, description="Chats per minute, token and session; 0: no limit."),
    ] = field(default=30, name="OPERATOR_CHAT_RATE")
    replies_per_token: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="Running replies per token and process; 0: no limit.",
        ),
    ] = field(default=200, name="OPERATOR_REPLIES_PER_TOKEN")
    frame_rate: Annotated[
        int, Meta(ge=0, le=1_000_000, description="Frames per second and websocket; 0: no limit.")
    ] = field(default=50, name="OPERATOR_FRAME_RATE")
    request_rate: Annotated[
        int, Meta(ge=0, le=10_000_000, description="Requests per minute and token; 0: no limit.")
    ] = field(default=0, name="OPERATOR_REQUEST_RATE")
    sockets_per_session: Annotated[
        Count, Meta(description="Open sockets per session and process.")
    ] = field(default=1000, name="OPERATOR_SOCKETS_PER_SESSION")
    sockets: Annotated[Count, Meta(description="Open sockets and event streams per process.")] = (
        field(default=10_000, name="OPERATOR_SOCKETS")
    )
    connections: Annotated[Count, Meta(description="Open TCP connections per process.")] = field(
        default=20_000, name="OPERATOR_CONNECTIONS"
    )
    address_share: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="Share of the connections that one client address keeps when they run out.",
        ),
    ] = field(default=0.5, name="OPERATOR_ADDRESS_SHARE")
    header_timeout: Annotated[
        Seconds, Meta(description="Maximum time to receive a request's headers, and then its body.")
    ] = field(default=15.0, name="OPERATOR_HEADER_TIMEOUT")
    write_timeout: Annotated[
        Seconds,
        Meta(
            description="Time without progress after which a client that does not read is cut off."
        ),
    ] = field(default=30.0, name="OPERATOR_WRITE_TIMEOUT")
    outbox_bytes: Annotated[
        int,
        Meta(
            ge=4096,
            le=64 * 2**20,
            description="Size of the queue of live frames for a slow socket.",
        ),
    ] = field(default=2**20, name="OPERATOR_OUTBOX_BYTES")
    bytes_in_flight: Annotated[
        int,
        Meta(
            ge=65536,
            le=2**40,
            description="Response bytes that one process buffers for its clients; beyond this,"
            " large requests get 429.",
        ),
    ] = field(default=128 * 2**20, name="OPERATOR_BYTES_IN_FLIGHT")
    resume_limit: Annotated[
        Count,
        Meta(
            description="Missed events that a resume replays; beyond this, the client"
            " gets a resync."
        ),
    ] = field(default=300, name="OPERATOR_RESUME_LIMIT")

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="Lowest level that is logged."),
    ] = field(default="info", name="OPERATOR_LOG_LEVEL")
    log_format: Annotated[
        Literal["auto", "json", "console"],
        Meta(description="`auto`: console on a terminal, otherwise json."),
    ] = field(default="auto", name="OPERATOR_LOG_FORMAT")
    log_sample: Annotated[
        float,
        Meta(ge=0, le=1, description="Fraction of successful requests in the access log."),
    ] = field(default=1.0, name="OPERATOR_LOG_SAMPLE")
    auto_feedback: Annotated[
        Literal["on", "off"],
        Meta(description="Record feedback on the engine of each finished reply."),
    ] = field(default="on", name="OPERATOR_AUTO_FEEDBACK")
    console: Annotated[
        Literal["on", "off"], Meta(description="Serve the web console at /console.")
    ] = field(default="on", name="OPERATOR_CONSOLE")
    forward_feedback: Annotated[
        Literal["posted", "all"],
        Meta(
            description="Feedback forwarded to Switch: only what clients post, or all."
            " VX11's Switch"
            " counts its own chats, so `all` counts them twice."
        ),
    ] = field(default="posted", name="OPERATOR_FORWARD_FEEDBACK")
    event_retention: Annotated[float, Meta(gt=0, le=3650, description="Days to keep events.")] = (
        field(default=7.0, name="OPERATOR_EVENT_RETENTION")
    )
    screenshot_retention: Annotated[
        float, Meta(gt=0, le=3650, description="Days to keep screenshots.")
    ] = field(default=30.0, name="OPERATOR_SCREENSHOT_RETENTION")
    message_retention: Annotated[
        float,
        Meta(
            ge=0,
            le=3650,
            description="Days without activity after which a session and its messages are deleted;"
            " 0: never.",
        ),
    ] = field(default=0.0, name="OPERATOR_MESSAGE_RETENTION")
    key_retention: Annotated[
        float,
        Meta(ge=0, le=3650, description="Days to keep idempotency keys; 0: forever."),
    ] = field(default=30.0, name="OPERATOR_KEY_RETENTION")
    feedback_retention: Annotated[
        float,
        Meta(ge=0, le=3650, description="Days to keep feedback on engines; 0: forever."),
    ] = field(default=0.0, name="OPERATOR_FEEDBACK_RETENTION")
    tool_call_retention: Annotated[
        float, Meta(ge=0, le=3650, description="Days to keep tool calls; 0: forever.")
    ] = field(default=0.0, name="OPERATOR_TOOL_CALL_RETENTION")
    task_retention: Annotated[
        float,
        Meta(
            ge=0,
            le=3650,
            description="Days to keep browser tasks that have ended; 0: forever.",
        ),
    ] = field(default=0.0, name="OPERATOR_TASK_RETENTION")
    metrics_port: Annotated[
        Port,
        Meta(
            description="Admin port for /metrics and for probes that do not wait behind clients;"
            " 0: none, and /metrics is on the main port."
        ),
    ] = field(default=0, name="OPERATOR_METRICS_PORT")
    otel: Annotated[
        Literal["on", "off"],
        Meta(description="Send OpenTelemetry traces; configure them with the OTEL_* variables."),
    ] = field(default="off", name="OPERATOR_OTEL")
    event_loop: Annotated[
        Literal["auto", "uvloop", "asyncio"],
        Meta(description="`auto`: uvloop if it is installed, otherwise asyncio."),
    ] = field(default="auto", name="OPERATOR_EVENT_LOOP")

    @property
    def sessions_url(self) -> str:
        """URL for connections that need a database session of their own."""
        return self.database_direct_url or self.database_url

    @property
    def path_prefix(self) -> str:
        """The path of OPERATOR_URL without a slash at its end; empty where it has none."""
        path = urlsplit(self.public_url).path.rstrip("/")
        return path if path.startswith("/") else ""

    def text_interval(self, *, bus_degraded: bool) -> float:
        """Seconds between two times that text is stored. While NATS is away other processes see
        nothing of it before."""
        if self.bus_url and bus_degraded:
            return self.tick
        return self.checkpoint or (NATS_CHECKPOINT if self.bus_url else self.tick)

    @property
    def origins(self) -> frozenset[str]:
        """The allowed origins, as a set."""
        return origins_of(self.allowed_origins)

    def problems(self) -> list[str]:
        """A line for each value that has the right type and cannot work."""
        lines = []
        for variable in variables(Settings):
            check = _CHECKS.get(variable.attribute)
            value = getattr(self, variable.attribute)
            if check is None or (variable.attribute in MAY_BE_EMPTY and not value):
                continue
            try:
                check(value)
            except ValueError as error:
                secret = variable.attribute in SECRET_ATTRIBUTES
                shown = "" if secret else f" (it is {without_secrets(value)!r})"
                lines.append(f"{variable.name} {error}{shown}")
        if self.metrics_port + self.workers - 1 > PORT_MAX:
            lines.append("OPERATOR_METRICS_PORT must leave a port above it for each worker")
        return lines + jwt_problems(self) + bus_problems(self)


class BrowserSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The effective settings of ``operator-browser``. Times are seconds, sizes are bytes."""

    host: Annotated[str, Meta(description="Address to listen on.")] = field(
        default="127.0.0.1", name="BROWSER_HOST"
    )
    port: Annotated[Port, Meta(description="Port to listen on; 0 picks a free one.")] = field(
        default=8012, name="BROWSER_PORT"
    )
    token: Annotated[str, Meta(description="Token of callers; default: OPERATOR_TOKEN.")] = field(
        default="", name="BROWSER_TOKEN"
    )
    auth: Annotated[Literal["token", "off"], Meta(description="Require a token from callers.")] = (
        field(default="token", name="OPERATOR_AUTH")
    )
    executable: Annotated[
        str, Meta(description="Path of Chromium; default: the one on PATH, then Playwright's.")
    ] = field(default="", name="BROWSER_EXECUTABLE")
    sandbox: Annotated[
        Literal["auto", "on", "off"],
        Meta(description="Chromium's sandbox; `auto`: on, except as root."),
    ] = field(default="auto", name="BROWSER_SANDBOX")
    pages: Annotated[int, Meta(ge=1, le=64, description="Pages open concurrently.")] = field(
        default=4, name="BROWSER_PAGES"
    )
    queue: Annotated[
        int, Meta(ge=0, le=10_000, description="Requests that may wait for a page.")
    ] = field(default=32, name="BROWSER_QUEUE")
    allow: Annotated[
        str,
        Meta(
            description="Private hosts, addresses or networks that pages may reach,"
            " comma-separated, "
            "on ports 80 and 443; `host:port` allows that port, `host:*` all."
        ),
    ] = field(default="", name="BROWSER_ALLOW")
    deny: Annotated[
        str,
        Meta(
            description="Global addresses or networks that pages cannot reach, comma-separated; "
            "takes precedence over BROWSER_ALLOW."
        ),
    ] = field(default="", name="BROWSER_DENY")
    page_bytes: Annotated[
        int, Meta(ge=1024, le=2**30, description="Maximum bytes that one page may load.")
    ] = field(default=32 * 2**20, name="BROWSER_PAGE_BYTES")
    page_memory: Annotated[
        int,
        Meta(
            ge=256 * 2**20,
            le=2**36,
            description="Maximum memory of one page; beyond it, the page is ended.",
        ),
    ] = field(default=2**30, name="BROWSER_PAGE_MEMORY")
    screenshot_bytes: Annotated[
        int, Meta(ge=1024, le=64 * 2**20, description="Maximum size of a screenshot.")
    ] = field(default=4 * 2**20, name="BROWSER_SCREENSHOT_BYTES")
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="Lowest level that is logged."),
    ] = field(default="info", name="OPERATOR_LOG_LEVEL")
    log_format: Annotated[
        Literal["auto", "json", "console"],
        Meta(description="`auto`: console on a terminal, otherwise json."),
    ] = field(default="auto", name="OPERATOR_LOG_FORMAT")


class Variable(NamedTuple):
    """One setting as the documents show it."""

    name: str
    attribute: str
    default: Any
    type: Any
    meaning: str


SECRET_ATTRIBUTES = frozenset(
    {"token", "browser_token", "switch_api_key", "switch_headers", "bus_url", "bus_credentials"}
)
SECRET_NAMES = (
    *TOKEN_NAMES,
    "BROWSER_TOKEN",
    "SWITCH_API_KEY",
    "SWITCH_HEADERS",
    "OPERATOR_DATABASE_URL",
    "OPERATOR_DATABASE_DIRECT_URL",
    "OPERATOR_DATABASE_READ_URL",
    "OPERATOR_BUS_URL",
    "OPERATOR_BUS_CREDENTIALS",
)
"""Variables that may hold a secret; each can be read from the file that ``NAME_FILE`` names."""

TOKEN_SOURCES = {
    "tokens_file": "OPERATOR_TOKENS_FILE",
    "jwks_url": "OPERATOR_JWT_JWKS_URL",
    "jwks_file": "OPERATOR_JWT_JWKS_FILE",
}
"""Variables that tell ``operator-svc`` of tokens in place of TOKEN_NAMES, by attribute."""

PEER_URLS = (
    "switch_url", "hermes_url", "shub_url", "tentaculo_link_url", "madre_url", "hormiguero_url",
    "manifestator_url", "mcp_url", "spawner_url", "browser_url",
)  # fmt: skip
"""The attributes with the URLs of peers; only the browser service's may be empty."""

MAY_BE_EMPTY = frozenset(
    {"browser_url", "jwks_url", "public_url", "bus_url", "bus_credentials", "bus_ca"}
)
"""Attributes with a check that may be left empty."""

_CHECKS: dict[str, Callable[[str], object]] = {
    **dict.fromkeys(PEER_URLS, split_url),
    "jwks_url": jwks_url,
    "public_url": public_url,
    "allowed_origins": origins_of,
    "browser_token": header_value,
    "switch_api_key": header_value,
    "switch_headers": headers_of,
    "switch_body": body_of,
    "bus_url": nats_servers,
    "bus_credentials": nats_credentials,
    "bus_ca": tls_context,
}

S = TypeVar("S", Settings, BrowserSettings)


def jwt_problems(settings: Settings) -> list[str]:
    """A line for each conflict among the settings of signed tokens."""
    keys = bool(settings.jwks_url) + bool(settings.jwks_file)
    if keys == 2:
        return ["OPERATOR_JWT_JWKS_URL and OPERATOR_JWT_JWKS_FILE are both set: keep one of them"]
    named = {
        "OPERATOR_JWT_ISSUER": settings.jwt_issuer,
        "OPERATOR_JWT_AUDIENCE": settings.jwt_audience,
    }
    if keys:
        # Otherwise a token for any service, by any issuer that shares the key set, would be valid.
        return [f"signed tokens need {name}" for name, value in named.items() if not value]
    return [
        f"{name} needs OPERATOR_JWT_JWKS_URL or OPERATOR_JWT_JWKS_FILE"
        for name, value in named.items()
        if value
    ]


def bus_problems(settings: Settings) -> list[str]:
    """A line for each setting of NATS that does not go with the others."""
    if not settings.bus_url:
        named = {
            "OPERATOR_BUS_CREDENTIALS": settings.bus_credentials,
            "OPERATOR_BUS_CA": settings.bus_ca,
            "OPERATOR_BUS_CERT": settings.bus_cert,
            "OPERATOR_BUS_KEY": settings.bus_key,
        }
        return [f"{name} needs OPERATOR_BUS_URL" for name, value in named.items() if value]
    if settings.bus_cert:
        try:
            tls_context("", settings.bus_cert, settings.bus_key)
        except ValueError as error:
            return [f"OPERATOR_BUS_CERT with OPERATOR_BUS_KEY {error}"]
    elif settings.bus_key:
        return ["OPERATOR_BUS_KEY needs OPERATOR_BUS_CERT"]
    if settings.database_url.startswith("sqlite:"):
        return ["OPERATOR_BUS_URL needs PostgreSQL: an SQLite file serves one process"]
    return []


@functools.cache
def variables(struct: type[Settings] | type[BrowserSettings]) -> tuple[Variable, ...]:
    """The settings of ``struct`` in their order, for the docs and for reading them."""
    return tuple(_variables(struct))


def _variables(struct: type[Settings] | type[BrowserSettings]) -> Iterator[Variable]:
    # msgspec compiles each annotation anew, which takes longer than all else that a start does
    # with the settings.
    for info in msgspec.structs.fields(struct):
        meta = info.type
        description = ""
        while getattr(meta, "__metadata__", None) is not None:
            description = next(
                (m.description for m in meta.__metadata__ if m.description), description
            )
            meta = meta.__origin__
        yield Variable(info.encode_name, info.name, info.default, info.type, description)


def load(struct: type[S], environ: Mapping[str, str]) -> tuple[S, list[str]]:
    """Read ``struct`` from ``environ``; returns it with one line for each warning.

    Raises ConfigurationError with one line for each value that is not valid, NoTokenError where
    nobody could call.
    """
    known = {variable.name: variable for variable in variables(struct)}
    values: dict[str, Any] = {}
    secrets = [name for name in SECRET_NAMES if name in known or name in TOKEN_NAMES]
    environ, problems = read_secret_files(environ, secrets)
    for name, variable in known.items():
        raw = environ.get(name)
        if raw is None or _is_service_link(name, raw):
            continue
        try:
            values[variable.attribute] = msgspec.convert(raw, variable.type, strict=False)
        except msgspec.ValidationError:
            shown = "" if variable.attribute in SECRET_ATTRIBUTES else f" (it is {raw!r})"
            allowed = allowed_values(variable.type)
            problems.append(f"{name} is not valid{shown}; allowed: {allowed}")
    token = first_token(environ)
    if struct is Settings:
        values["token"] = token
        values.setdefault("browser_token", token)
    elif not values.get("token"):
        values["token"] = token
    if not problems and values.get("auth", "token") == "token":
        _check_callers(struct, values)
    if not values.get("token", "").isascii() or any(c.isspace() for c in values.get("token", "")):
        problems.append("the token must be ASCII without spaces, because it is sent in a header")
    settings = None
    if not problems:
        settings = struct(**values)
        problems = settings.problems() if isinstance(settings, Settings) else []
    if settings is None or problems:
        raise ConfigurationError(problems)
    return settings, _warnings(environ)


def _check_callers(struct: type[Settings] | type[BrowserSettings], values: dict[str, Any]) -> None:
    """Raise NoTokenError where no setting says by which tokens callers are known."""
    others = TOKEN_SOURCES if struct is Settings else {"token": "BROWSER_TOKEN"}
    if any(values.get(attribute) for attribute in ("token", *others)):
        return
    names = ", ".join([*TOKEN_NAMES, *others.values()])
    raise NoTokenError([f"no token: set one of {names}, or turn auth off with OPERATOR_AUTH=off"])


def first_token(environ: Mapping[str, str]) -> str:
    """The token of the first of TOKEN_NAMES that is set, from its file too; empty where none is.

    Raises as ``named_token``.
    """
    return named_token(environ)[1]


def named_token(environ: Mapping[str, str]) -> tuple[str, str]:
    """The variable that sets the token, one of TOKEN_NAMES or its file, and the token.

    Both are empty where none is set. Raises ConfigurationError with one line for each file that
    cannot be used.
    """
    values, problems = read_secret_files(environ, TOKEN_NAMES)
    if problems:
        raise ConfigurationError(problems)
    for name in TOKEN_NAMES:
        if token := values.get(name):
            return name if environ.get(name) else name + SUFFIX, token
    return "", ""


def masked(struct: Settings | BrowserSettings) -> dict[str, Any]:
    """The effective settings by variable name, secrets and passwords masked."""
    shown: dict[str, Any] = {}
    for variable in variables(type(struct)):
        value = getattr(struct, variable.attribute)
        if variable.attribute == "bus_url" and value:
            value = ",".join(server.url for server in nats_servers(value))
        elif variable.attribute in SECRET_ATTRIBUTES:
            value = "***" if value else ""
        elif isinstance(value, str) and "://" in value and variable.attribute != "allowed_origins":
            value = without_secrets(value)
        shown[variable.name] = value
    return shown


def _is_service_link(name: str, raw: str) -> bool:
    """Kubernetes sets OPERATOR_PORT=tcp://… beside a Service named ``operator``."""
    return name.endswith("_PORT") and raw.startswith(("tcp://", "udp://"))


def _warnings(environ: Mapping[str, str]) -> list[str]:
    known = {v.name for struct in (Settings, BrowserSettings) for v in variables(struct)}
    known |= {*TOKEN_NAMES, *(name + SUFFIX for name in SECRET_NAMES)}
    lines = [
        f"{name} is not a setting of Operator{_hint(name, known)}"
        for name in sorted(environ)
        if name not in known and name.startswith(("OPERATOR_", "BROWSER_"))
    ]
    lines.extend(
        f"{name} is a Kubernetes service link, not a port: ignored"
        for name in sorted(known & set(environ))
        if _is_service_link(name, environ[name])
    )
    return lines


def _hint(name: str, known: set[str]) -> str:
    import difflib  # few processes need it, and all would keep it

    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
