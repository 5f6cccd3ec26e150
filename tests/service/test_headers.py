"""Headers on everything the whole application answers, refusals and failures included, and who may read it (CORS)."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute
from protocols.served import served
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from app import main
from app.main import create_app
from app.ports import ServedApp
from app.protocols.funasr import ws as funasr_ws
from app.service.headers import HEADERS, SecurityHeaders, shielded
from app.service.uploads import RequestId
from app.settings import Settings

KEY = "a-key-that-counts"
GOOD = {"authorization": f"Bearer {KEY}"}
TOO_MUCH = bytes(3 * 1024 * 1024)
"""Of a megabyte, and what a form may have beside it."""
FRIEND, OTHER = "https://friend.example", "https://other.example"
OPENAI_BROWSER = (
    "authorization,content-type,user-agent,x-stainless-arch,x-stainless-lang,x-stainless-os,x-stainless-package-version,"
    "x-stainless-retry-count,x-stainless-runtime,x-stainless-runtime-version,x-stainless-timeout"
)
"""What OpenAI's JavaScript client asks to send."""


@contextlib.contextmanager
def serving(**settings: object) -> Iterator[tuple[httpx.Client, str]]:
    """A client of the whole application, whose service can do nothing, and where WebSockets are."""
    app = create_app(Settings(_env_file=None, api_keys=KEY, **settings))
    app.state.service = object()
    once = httpx.Limits(max_keepalive_connections=0)  # a connection ends with a failure
    with (
        served(app) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30, limits=once) as http,
    ):
        yield http, f"ws://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def closed() -> Iterator[tuple[httpx.Client, str]]:
    with serving(max_audio_size="1") as both:
        yield both


@pytest.fixture(scope="module")
def client(closed: tuple[httpx.Client, str]) -> httpx.Client:
    return closed[0]


@pytest.fixture(scope="module")
def friendly() -> Iterator[httpx.Client]:
    with serving(max_audio_size="1", cors_origins=f"{FRIEND}, http://localhost:3000") as (http, _):
        yield http


def assert_guarded(answer: httpx.Response, *, plain: bool = True) -> None:
    """It has every header, and once; a `plain` one has those of data."""
    for name, value in HEADERS.items():
        found = answer.headers.get_list(name)
        assert len(found) == 1, (name, found, answer.request.url)
        if plain or name in {"x-content-type-options", "x-frame-options", "referrer-policy"}:
            assert found == [value], (name, answer.request.url)
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "strict-transport-security" not in answer.headers


def every_route() -> list[tuple[str, str]]:
    """Methods and paths of the whole application."""
    routes = create_app(Settings(_env_file=None)).routes
    found = [
        (method, route.path) for route in routes if isinstance(route, APIRoute) for method in sorted(route.methods)
    ]
    assert len(found) > 60
    return [(method, re.sub(r"\{[^}]+\}", "some", path)) for method, path in found]


PAGES = {"/", "/ws/v1/asr/test", "/docs", "/redoc", "/asyncapi.yaml"}
"""Say for themselves what they may do, or may be kept."""


def test_every_route_s_refusal_and_failure_has_the_headers(client: httpx.Client) -> None:
    statuses: set[int] = set()
    for method, path in every_route():
        for headers in ({}, GOOD):
            answer = client.request(method, path, headers=headers)
            statuses.add(answer.status_code)
            assert_guarded(answer, plain=path not in PAGES)
    assert statuses >= {200, 401, 404, 500}, statuses


@pytest.mark.parametrize(
    ("status", "method", "path", "headers"),
    [
        (404, "GET", "/nothing/here", GOOD),
        (405, "PUT", "/recognition", GOOD),
        (401, "OPTIONS", "/v1/models", {}),
        (413, "POST", "/v1/audio/transcriptions", GOOD),
        (404, "GET", "/web/nothing.js", {}),
        (404, "GET", "/static-offline-docs/nothing.js", {}),
        (200, "GET", "/openapi.json", {}),
        (200, "GET", "/", {"accept": "application/json"}),
    ],
)
def test_other_answers_have_them_too(
    client: httpx.Client, status: int, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = client.request(method, path, headers=headers, content=TOO_MUCH if status == 413 else None)
    assert answer.status_code == status
    assert_guarded(answer, plain="offline" not in path)


def test_the_page_has_the_microphone_and_nothing_else_has(client: httpx.Client) -> None:
    page = client.get("/", headers={"accept": "text/html"})
    assert page.headers["permissions-policy"].startswith("microphone=(self)")
    assert_guarded(page, plain=False)
    for path in ("/docs", "/redoc", "/openapi.json", "/health/live"):
        assert client.get(path).headers["permissions-policy"].startswith("microphone=()")


def test_transcripts_are_never_kept_and_files_are_with_validation(client: httpx.Client) -> None:
    assert client.get("/v1/models", headers=GOOD).headers["cache-control"] == "no-store"
    assert client.get("/health/live").headers["cache-control"] == "no-store"
    for path in ("/web/js/main.js", "/static-offline-docs/swagger-ui.css"):
        answer = client.get(path)
        assert answer.headers["cache-control"] == "no-cache"
        again = client.get(path, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.headers["cache-control"]) == (304, "no-cache")
        assert_guarded(again, plain=False)


# --- WebSockets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "status"), [("/v1/realtime", 401), ("/nothing", 403)])
def test_a_refused_websocket_has_them(closed: tuple[httpx.Client, str], path: str, status: int) -> None:
    named = {"x-request-id": "mine"}
    with pytest.raises(InvalidStatus) as refused:
        connect(closed[1] + path, proxy=None, open_timeout=20, additional_headers=named)
    answer = refused.value.response
    assert answer.status_code == status
    assert answer.headers.get_all("x-request-id") == ["mine"]
    for name, value in HEADERS.items():
        assert answer.headers.get_all(name) == [value]


def test_every_websocket_route_is_accepted_or_refused_with_them(closed: tuple[httpx.Client, str]) -> None:
    routes = create_app(Settings(_env_file=None)).routes
    paths = [route.path for route in routes if isinstance(route, WebSocketRoute)]
    assert len(paths) > 6
    for path in paths:
        try:
            with connect(closed[1] + path, proxy=None, open_timeout=20) as connection:
                assert connection.response is not None
                assert "content-security-policy" not in connection.response.headers  # nobody renders a handshake
        except InvalidStatus as refused:
            assert refused.response.headers["x-content-type-options"] == "nosniff"


def test_a_port_of_its_own_has_them() -> None:
    app = create_app(Settings(_env_file=None))
    with served(shielded(funasr_ws.application_of(app))) as port:  # type: ignore[arg-type]  # as app.main serves it
        answer = httpx.get(f"http://127.0.0.1:{port}/", trust_env=False, timeout=30)
    assert answer.status_code == 426
    assert_guarded(answer)


def told(app: ASGIApp, scope: Scope) -> list[Message]:
    """What a server is told by the application."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(SecurityHeaders(app)(scope, receive, send))  # type: ignore[arg-type]
    return sent


def socket_that(*messages: Message) -> ASGIApp:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def test_a_close_stays_a_close_where_it_cannot_be_an_answer_and_after_the_beginning() -> None:
    close: Message = {"type": "websocket.close", "code": 1000}
    accept: Message = {"type": "websocket.accept"}
    able: Scope = {"type": "websocket", "path": "/", "scheme": "ws", "extensions": {"websocket.http.response": {}}}
    assert told(socket_that(close), {"type": "websocket", "path": "/", "scheme": "ws"}) == [close]
    assert told(socket_that(accept, close), able) == [accept, close]
    assert [message["type"] for message in told(socket_that(close), able)] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]


async def failing(_: WebSocket) -> None:
    raise RuntimeError("made to fail")


def test_a_websocket_whose_handler_fails_before_it_is_accepted_has_them() -> None:
    app = RequestId(Starlette(routes=[WebSocketRoute("/", failing)]))
    with served(shielded(app)) as port, pytest.raises(InvalidStatus) as refused:  # type: ignore[arg-type]
        connect(f"ws://127.0.0.1:{port}/", proxy=None, open_timeout=20, additional_headers={"x-request-id": "mine"})
    answer = refused.value.response
    assert (answer.status_code, answer.body) == (500, b"Internal Server Error")
    assert answer.headers.get_all("x-request-id") == ["mine"]
    for name, value in HEADERS.items():
        assert answer.headers.get_all(name) == [value]


def test_a_websocket_that_fails_after_its_beginning_gets_no_answer_and_its_failure_is_told() -> None:
    able: Scope = {"type": "websocket", "path": "/", "scheme": "ws", "extensions": {"websocket.http.response": {}}}
    sent: list[Message] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        raise RuntimeError("made to fail")

    async def send(message: Message) -> None:
        sent.append(message)

    with pytest.raises(RuntimeError, match="made to fail"):
        asyncio.run(SecurityHeaders(app)(able, None, send))  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.accept"}]


# --- HSTS -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "seconds", "expected"), [("https", 600, "max-age=600"), ("http", 600, None), ("https", 0, None)]
)
def test_tls_alone_is_asked_for_only_over_tls_and_where_that_is_set(
    scheme: str, seconds: int, expected: str | None
) -> None:
    async def behind_tls(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "scheme": scheme}, receive, send)

    app = create_app(Settings(_env_file=None, hsts_seconds=seconds))
    with served(behind_tls) as port:  # type: ignore[arg-type]
        answer = httpx.get(f"http://127.0.0.1:{port}/health/live", trust_env=False, timeout=30)
    assert answer.status_code == 200
    assert answer.headers.get("strict-transport-security") == expected


def test_a_port_of_its_own_asks_for_tls_as_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def behind_tls(scope: Scope, receive: Receive, send: Send) -> None:
        await others[0].app({**scope, "scheme": "https"}, receive, send)

    others: list[ServedApp] = []
    monkeypatch.setattr(main, "serve_all", lambda _, served_apps, **__: others.extend(served_apps))
    monkeypatch.setattr(main.logs, "configure", lambda _: None)
    main.serve(Settings(_env_file=None, data_dir=tmp_path, hsts_seconds=600, funasr_ws_port=1))
    with served(behind_tls) as port:  # type: ignore[arg-type]
        answer = httpx.get(f"http://127.0.0.1:{port}/", trust_env=False, timeout=30)
    assert (answer.status_code, answer.headers["strict-transport-security"]) == (426, "max-age=600")


# --- CORS -------------------------------------------------------------------------------------------------------------


def preflight(client: httpx.Client, origin: str, method: str = "POST", **more: str) -> httpx.Response:
    headers = {"origin": origin, "access-control-request-method": method, **more}
    return client.options("/v1/audio/transcriptions", headers=headers)


def cors(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def test_by_default_no_other_site_may_read_anything(client: httpx.Client) -> None:
    assert cors(preflight(client, FRIEND)) == {}
    assert cors(client.get("/health/live", headers={"origin": FRIEND})) == {}
    assert cors(client.get("/v1/models", headers={"origin": FRIEND, **GOOD})) == {}


@pytest.mark.parametrize("origin", [FRIEND, "http://localhost:3000"])
def test_a_named_site_may_ask_without_a_key_whether_it_may_ask(friendly: httpx.Client, origin: str) -> None:
    answer = preflight(friendly, origin, **{"access-control-request-headers": OPENAI_BROWSER})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-headers"] == OPENAI_BROWSER
    assert "origin" in answer.headers["vary"].lower()
    assert "access-control-allow-credentials" not in answer.headers
    assert_guarded(answer)
    for method in ("GET", "PUT", "DELETE"):
        assert preflight(friendly, origin, method).status_code == 200


@pytest.mark.parametrize(
    "origin", [OTHER, "null", "https://friend.example:8443", "http://friend.example", FRIEND + ".x"]
)
def test_another_site_may_not(friendly: httpx.Client, origin: str) -> None:
    for answer in (preflight(friendly, origin), friendly.get("/health/live", headers={"origin": origin})):
        assert "access-control-allow-origin" not in answer.headers
    assert preflight(friendly, origin).status_code == 400


@pytest.mark.parametrize(
    ("status", "method", "path", "headers"),
    [
        (200, "GET", "/health/live", {}),
        (401, "GET", "/v1/models", {}),
        (413, "POST", "/v1/audio/transcriptions", GOOD),
        (404, "GET", "/nothing", GOOD),
        (500, "GET", "/v1/models", GOOD),
    ],
)
def test_a_named_site_can_read_errors_too(
    friendly: httpx.Client, status: int, method: str, path: str, headers: dict[str, str]
) -> None:
    content = TOO_MUCH if status == 413 else None
    answer = friendly.request(method, path, headers={**headers, "origin": FRIEND}, content=content)
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == FRIEND
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"x-request-id", "x-asr-model", "retry-after", "x-ratelimit-remaining-requests"} <= set(exposed)


def test_any_site_may_where_that_is_set_but_never_with_credentials() -> None:
    with serving(cors_origins="*") as (client, _):
        for answer in (preflight(client, OTHER), client.get("/v1/models", headers={"origin": OTHER, "cookie": "a=b"})):
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in answer.headers
        # A public page that reaches into a private network is what a name is needed for.
        private = {"access-control-request-private-network": "true"}
        assert "access-control-allow-private-network" not in preflight(client, OTHER, **private).headers


def test_a_named_site_may_reach_into_a_private_network(friendly: httpx.Client) -> None:
    answer = preflight(friendly, FRIEND, **{"access-control-request-private-network": "true"})
    assert (answer.status_code, answer.headers["access-control-allow-private-network"]) == (200, "true")


@pytest.mark.parametrize(
    ("said", "origins"),
    [
        ("", []),
        ("*", ["*"]),
        ("https://Example.ORG, http://localhost:3000", ["https://example.org", "http://localhost:3000"]),
        ("https://example.org:443,http://[::1]:80,https://example.org", ["https://example.org", "http://[::1]"]),
        ("https://example.org:80,capacitor://localhost", ["https://example.org:80", "capacitor://localhost"]),
    ],
)
def test_origins_are_read_as_browsers_write_them(said: str, origins: list[str]) -> None:
    assert Settings(_env_file=None, cors_origins=said).cors_origins == origins


@pytest.mark.parametrize(
    "said",
    [
        "example.org",
        "https://example.org/",
        "https://example.org/page",
        "https://",
        "https://*.example.org",
        "https://example.org:0",
        "https://example.org:99999",
        "https://user@example.org",
        "https://例子.example",
        "null",
        "*,https://example.org",
    ],
)
def test_what_is_no_origin_is_refused_at_start(said: str) -> None:
    with pytest.raises(ValidationError, match=r"an origin is a scheme and a host|\* is every origin"):
        Settings(_env_file=None, cors_origins=said)
