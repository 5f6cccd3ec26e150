"""docs/api.md: every route and socket of the application is on it, nothing else is, and it says what needs a key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from protocols.served import served
from starlette.routing import Mount, Route, WebSocketRoute

from app.main import create_app
from app.settings import Settings

PAGE = (Path(__file__).parents[1] / "docs" / "api.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.+?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
SHAPES = {row.split(",")[0] for row in re.findall(r"^\| ([^|`]+?) *\| `\{", SECTIONS["What an error looks like"], re.M)}
Door = tuple[str, str]


def rows(section: str) -> Iterator[list[str]]:
    """Cells of a section's tables, without heads."""
    for line in SECTIONS[section].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and cells[0] not in {"Method", "Socket", "Place", "Shape"}:
            yield cells


def doors(section: str) -> Iterator[Door]:
    """Methods and paths that a section lists."""
    for cells in rows(section):
        for method in cells[0].split(", "):
            for path in re.findall(r"`([^`]+)`", cells[1]):
                yield method, path


HTTP = ("Recordings over HTTP", "What is kept for a key", "For operators", "For people")
LISTED = [door for section in HTTP for door in doors(section)]


def there(app: FastAPI) -> Iterator[Door]:
    """Those of the application."""
    for route in app.routes:
        if isinstance(route, Mount):
            yield from ((method, f"{route.path}/{{name}}") for method in ("GET", "HEAD"))
        elif isinstance(route, Route):
            path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
            yield from ((method, path) for method in route.methods or ())


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(Settings(_env_file=None, api_keys="key"))


def test_every_route_is_listed_and_nothing_else(app: FastAPI) -> None:
    assert len(LISTED) == len(set(LISTED))
    assert set(LISTED) == set(there(app))


def test_every_socket_is_listed_and_nothing_else(app: FastAPI) -> None:
    kinds = [(cells[0], cells[1]) for cells in rows("Sockets")]
    paths = [path for kind, cell in kinds if kind == "WebSocket" for path in re.findall(r"`(/[^`]*)`", cell)]
    assert sorted(paths) == sorted(route.path for route in app.routes if isinstance(route, WebSocketRoute))
    ports = re.findall(r"`(\w+_PORT)`", SECTIONS["Sockets"])
    assert ports == ["FUNASR_WS_PORT", "ODDASR_WS_PORT", "WYOMING_PORT"]
    assert all(port.lower() in Settings.model_fields for port in ports)


def test_every_error_has_a_shape_that_is_shown() -> None:
    assert len(SHAPES) >= 6
    for section in ("Recordings over HTTP", "What is kept for a key"):
        for cells in rows(section):
            assert cells[3] in SHAPES, cells


def test_it_says_who_needs_a_key(app: FastAPI) -> None:
    """Asked without one: what is open answers, all else refuses."""
    opened = {*doors("For people")} - {("POST", "/login")}
    opened |= {
        (method, path)
        for cells in rows("For operators")
        if cells[3] == "open"
        for method in cells[0].split(", ")
        for path in re.findall(r"`([^`]+)`", cells[1])
    }
    once = httpx.Limits(max_keepalive_connections=0)
    with (
        served(app) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30, limits=once) as client,
    ):
        for method, path in LISTED:
            answer = client.request(method, re.sub(r"\{\w+\}", "some", path))
            refused = answer.status_code in {401, 403}
            assert refused == ((method, path) not in opened), (method, path, answer.status_code)


@pytest.mark.parametrize(
    ("method", "path", "keys"),
    [
        ("GET", "/v1/models", {"error"}),
        ("GET", "/nothing", {"error"}),
        ("POST", "/stream/v1/asr", {"error_code", "message", "task_id", "timestamp", "details", "status", "result"}),
        ("POST", "/asr", {"detail"}),
        ("POST", "/recognition", {"msg", "code"}),
        ("POST", "/v1/asr", {"error"}),
        ("POST", "/v1/asr/hotwords", {"error_code", "error_desc", "data"}),
        ("GET", "/api/v1/asr/vocabs", {"request_id", "error_code", "error_message"}),
    ],
)
def test_errors_look_as_shown(app: FastAPI, method: str, path: str, keys: set[str]) -> None:
    with served(app) as port:
        answer = httpx.request(method, f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=30)
    assert set(answer.json()) == keys
    assert keys in [set(json.loads(example)) for example in examples()]


def examples() -> list[str]:
    return re.findall(r"\| `(\{.+?\})`", SECTIONS["What an error looks like"])
