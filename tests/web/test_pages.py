"""The page's addresses: who gets what, with which headers, and that it says everything in both languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from protocols.served import served
from starlette.responses import PlainTextResponse, Response
from starlette.types import Scope

from app.domain.errors import RequestError
from app.main import create_app
from app.service.auth import KeyRing
from app.service.uploads import UploadGuard
from app.settings import Settings
from app.web import pages

PAGE = "/ws/v1/asr/test"
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
STATIC = Path(pages.__file__).parent / "static"
SCRIPTS = sorted(STATIC.glob("js/**/*.js"))


def refusal(error: RequestError, _scope: Scope) -> Response:
    return PlainTextResponse(error.message, 401)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """A client without a key, of a server that wants one."""
    app = FastAPI(title="Speech server", version="1.2.3")
    app.include_router(pages.router)
    app.add_middleware(UploadGuard, keyring=KeyRing(["key"]), max_bytes=1000, idle_seconds=10, refuse=refusal)
    with served(app) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        yield http


@pytest.fixture(scope="module")
def html(client: httpx.Client) -> str:
    return client.get(PAGE).text


def test_a_browser_gets_the_page_at_the_root(client: httpx.Client, html: str) -> None:
    answer = client.get("/", headers=BROWSER)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text == html
    assert html.startswith("<!doctype html>")


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
def test_a_program_gets_the_banner_at_the_root(client: httpx.Client, accept: str) -> None:
    banner = client.get("/", headers={"accept": accept}).json()
    assert banner["message"] == "Speech server"
    assert banner["version"] == "1.2.3"
    assert banner["endpoints"]["openai_transcriptions"] == "/v1/audio/transcriptions"
    assert banner["endpoints"]["ws_asr"] == "/ws/v1/asr"
    assert banner["endpoints"]["ws_funasr"] == "/ws/funasr"
    assert banner["endpoints"]["ws_qwen3_asr"] == "/ws/v1/asr/qwen"
    assert banner["endpoints"]["openai_realtime"] == "/v1/realtime"
    assert banner["endpoints"]["page"] == PAGE
    assert banner["endpoints"]["asr"] == "/stream/v1/asr"
    assert banner["endpoints"]["asr_models"] == "/stream/v1/asr/models"
    assert banner["endpoints"]["asr_health"] == "/stream/v1/asr/health"
    routes = create_app(Settings(_env_file=None)).openapi()["paths"]
    for name in ("jobs", "uploads", "asr_flash", "oddasr", "whisper_asr", "whisper_asr_language", "funasr_recognition"):
        assert banner["endpoints"][name] in routes


def test_caches_keep_the_two_answers_at_the_root_apart(client: httpx.Client) -> None:
    assert client.get("/").headers["vary"] == client.get("/", headers=BROWSER).headers["vary"] == "Accept"


@pytest.mark.parametrize("path", ["/", PAGE, "/web/js/main.js"])
def test_a_monitor_may_ask_for_the_head_alone(client: httpx.Client, path: str) -> None:
    answer = client.head(path, headers=BROWSER)
    assert (answer.status_code, answer.content) == (200, b"")


def test_everything_the_page_names_is_there_without_a_key(client: httpx.Client, html: str) -> None:
    named = set(re.findall(r'(?:src|href)="(/web/[^"]+)"', html))
    assert named >= {"/web/css/base.css", "/web/js/main.js", "/web/icon.svg"}
    for script in SCRIPTS:
        folder = script.relative_to(STATIC).parent
        for target in re.findall(r'^import .*?from "(\.[^"]+)";', script.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            named.add("/web/" + str((STATIC / folder / target).resolve().relative_to(STATIC)))
    types = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
    for path in sorted(named):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["content-type"] == types[Path(path).suffix], path
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_file_is_asked_for_again_and_sent_only_if_it_changed(client: httpx.Client) -> None:
    first = client.get("/web/css/base.css")
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/web/css/base.css", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "/web/",
        "/web/nothing.js",
        "/web/js",
        "/web/index.html",  # the page has addresses of its own, with its own headers
        "/web/%2e%2e/pages.py",
        "/web/..%2f..%2fmain.py",
        "/web//etc/passwd",
    ],
)
def test_nothing_else_is_there(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_other_paths_still_need_the_key(client: httpx.Client) -> None:
    assert client.get("/website").status_code == 401
    assert client.get("/ws/v1/asr/tests").status_code == 401


def test_the_page_may_only_do_what_it_needs(client: httpx.Client) -> None:
    headers = client.get("/", headers=BROWSER | {"host": "speech.example:8443"}).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert policy["connect-src"] == "'self' ws://speech.example:8443 wss://speech.example:8443"
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["permissions-policy"].startswith("microphone=(self)")


@pytest.mark.parametrize("host", ["a; script-src *", "a b", "x'y", "[::1", ""])
def test_a_made_up_host_gets_no_say_in_it(client: httpx.Client, host: str) -> None:
    policy = client.get(PAGE, headers={"host": host}).headers["content-security-policy"]
    assert "connect-src 'self'; " in policy
    assert "script-src" not in policy


def test_an_address_in_brackets_is_a_host(client: httpx.Client) -> None:
    policy = client.get(PAGE, headers={"host": "[::1]:8000"}).headers["content-security-policy"]
    assert "ws://[::1]:8000" in policy


def test_the_page_needs_nothing_from_elsewhere(html: str) -> None:
    for text in [html, *(path.read_text("utf-8") for path in STATIC.rglob("*.*"))]:
        addresses = set(re.findall(r"(?:https?|wss?)://[^\s\"'`)，。]+", text))
        assert all(address.startswith(("http://localhost:", "http://www.w3.org/2000/svg")) for address in addresses), (
            addresses
        )


def test_nothing_is_inline_and_text_is_never_markup(html: str) -> None:
    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html)
    for script in SCRIPTS:
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", script.read_text()
        )


# --- two languages ----------------------------------------------------------------------------------------------------


def table(name: str) -> dict[str, str]:
    text = (STATIC / "i18n" / f"{name}.js").read_text("utf-8")
    pairs = re.findall(r'^  "([\w.]+)":\s*"((?:[^"\\]|\\.)*)",$', text, re.MULTILINE)
    assert len(pairs) == len(re.findall(r'^  "', text, re.MULTILINE)), "a line was not understood"
    assert len(dict(pairs)) == len(pairs), "a key is there twice"
    return dict(pairs)


def used_keys(html: str) -> set[str]:
    """What the page and its scripts name that looks like a key."""
    keys = set(re.findall(r'data-i18n(?:-\w+)?="([^"]+)"', html))
    families = {key.split(".")[0] for key in table("en")}
    for script in SCRIPTS:
        for said in re.findall(r'"([a-z_]+\.[a-z_.]+)"', script.read_text("utf-8")):
            if said.split(".")[0] in families and not said.endswith(".js"):
                keys.add(said)
    return keys


def test_both_languages_have_the_same_keys() -> None:
    assert list(table("en")) == list(table("zh"))


def test_every_key_that_is_used_exists_and_every_key_is_used(html: str) -> None:
    assert used_keys(html) == set(table("en"))


def test_both_languages_have_a_place_for_the_same_values() -> None:
    english, chinese = table("en"), table("zh")
    for key, text in english.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", chinese[key])), key


def test_each_table_is_written_in_its_language() -> None:
    for key, text in table("zh").items():
        assert re.search(r"[\u4e00-\u9fff]", text), key
    for key, text in table("en").items():
        assert not re.search(r"[\u4e00-\u9fff]", text), key
