"""The viewers of the API's documents, and other sites' pages, in a real browser in front of the real application."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page
from protocols.served import served
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from app.main import create_app
from app.settings import Settings

from .browser import PATIENCE

KEY = "a-key-that-counts"


@contextlib.contextmanager
def serving(**settings: object) -> Iterator[str]:
    with served(create_app(Settings(_env_file=None, api_keys=KEY, **settings))) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with serving() as address:
        yield address


@pytest.fixture
def page(chrome: Browser) -> Iterator[Page]:
    context = chrome.new_context()
    yield context.new_page()
    context.close()


def complaints(page: Page) -> list[str]:
    """What the browser will not like. Filled as it goes."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("console", lambda said: said.type in {"error", "warning"} and found.append(said.text))
    page.on("requestfailed", lambda request: found.append(f"{request.url} {request.failure}"))
    return found


def test_swagger_shows_operations_and_tries_one(page: Page, base: str) -> None:
    found = complaints(page)
    page.goto(f"{base}/docs")
    page.locator(".opblock").nth(20).wait_for(timeout=PATIENCE)
    health = page.locator("#operations-Health-live_health_live_get")
    health.locator(".opblock-summary-control").click()
    health.get_by_role("button", name="Try it out").click()
    health.get_by_role("button", name="Execute").click()
    health.locator(".live-responses-table", has_text="alive").wait_for(timeout=PATIENCE)
    assert found == []


def test_redoc_shows_operations(page: Page, base: str) -> None:
    found = complaints(page)
    page.goto(f"{base}/redoc")
    page.locator("[data-section-id^='tag/']").nth(3).wait_for(timeout=PATIENCE)
    page.locator("input[placeholder='Search...']").fill("vocabularies")
    page.locator("[data-role='search:results'] li").first.wait_for(timeout=PATIENCE)
    # Its maker's picture would be fetched from its maker, who has no business in knowing who reads this.
    assert [said for said in found if "https://cdn.redoc.ly/redoc/logo-mini.svg" not in said] == []


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_no_other_script_may_run_in_them(page: Page, base: str, path: str) -> None:
    page.goto(base + path)
    ran = page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.head.append(script);
            return window.ran === true;
        }"""
    )
    assert ran is False


def test_no_other_site_can_frame_them(page: Page, base: str) -> None:
    with elsewhere() as other:
        page.goto(other)
        for path in ("/docs", "/ws/v1/asr/test", "/health/live"):
            page.evaluate(
                """address => new Promise(done => {
                    const frame = document.createElement("iframe");
                    frame.onload = done;
                    frame.src = address;
                    document.body.append(frame);
                })""",
                base + path,
            )
        shown = [frame.url for frame in page.frames if frame is not page.main_frame]
    assert len(shown) == 3
    assert all(url.startswith("chrome-error://") for url in shown), shown


@contextlib.contextmanager
def elsewhere() -> Iterator[str]:
    """Another site: another port is another origin."""

    async def site(_request: Request) -> Response:
        return HTMLResponse("<!doctype html><title>Elsewhere</title>")

    with served(Starlette(routes=[Route("/", site)])) as port:  # type: ignore[arg-type]
        yield f"http://127.0.0.1:{port}"


FETCH = """async ([address, key]) => {
    const headers = { authorization: `Bearer ${key}`, "x-request-id": "from-elsewhere", "x-stainless-lang": "js" };
    try {
        const answer = await fetch(address, { headers });
        return [answer.status, answer.headers.get("x-request-id")];
    } catch (error) {
        return String(error);
    }
}"""


def fetched(page: Page, address: str, key: str = KEY) -> object:
    """What a script of the page's site gets."""
    return page.evaluate(FETCH, [address, key])


def test_a_script_elsewhere_reads_nothing_by_default(page: Page, base: str) -> None:
    with elsewhere() as site:
        page.goto(site)
        for path in ("/openapi.json", "/v1/models", "/health/live"):
            assert fetched(page, base + path) == "TypeError: Failed to fetch"
    assert httpx.get(f"{base}/openapi.json", trust_env=False, timeout=30).status_code == 200  # it is there


@pytest.mark.parametrize("named", [True, False])
def test_a_script_elsewhere_reads_what_it_may(page: Page, named: bool) -> None:
    with elsewhere() as site, serving(cors_origins=site if named else "*") as base:
        page.goto(site)
        assert fetched(page, f"{base}/openapi.json") == [200, "from-elsewhere"]
        assert fetched(page, f"{base}/v1/models", "wrong") == [401, "from-elsewhere"]


def test_a_script_of_a_site_that_is_not_named_still_reads_nothing(page: Page) -> None:
    with elsewhere() as site, elsewhere() as other, serving(cors_origins=other) as base:
        page.goto(site)
        assert fetched(page, f"{base}/openapi.json") == "TypeError: Failed to fetch"
        page.goto(other)
        assert fetched(page, f"{base}/openapi.json") == [200, "from-elsewhere"]
