"""The page in a real browser, in front of a server that hears what it is told to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Playwright, sync_playwright

from .browser import Visit, browser, memory, tone, visit, visited, write_wav
from .desk import Desk
from .fake_server import FakeServer, fake_server
from .job_desk import JobDesk
from .jobs_server import FakeJobs, keeping
from .list_server import Lists, fresh_keys, storing


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="package")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the microphone plays: half a second of silence, then a tone."""
    samples = np.concatenate([np.zeros(24_000), tone(1000, 8, 48_000)])
    return write_wav(tmp_path_factory.mktemp("sound") / "tone.wav", samples, 48_000)


@pytest.fixture(scope="package")
def chrome(playwright: Playwright, sound: Path) -> Iterator[Browser]:
    with browser(playwright, sound) as started:
        yield started


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with fake_server() as fake:
        yield fake


@pytest.fixture
def visitor(chrome: Browser, server: FakeServer) -> Iterator[Visit]:
    with visit(chrome, server.base) as somebody:
        somebody.set(echo=False, noise=False)
        yield somebody


@pytest.fixture(scope="package")
def storing_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    """A server that stores lists of words."""
    with fake_server(lists=storing(tmp_path_factory.mktemp("lists"))) as fake:
        yield fake


@pytest.fixture(scope="package")
def keys() -> Iterator[str]:
    return fresh_keys()


@pytest.fixture
def lists(storing_server: FakeServer, keys: Iterator[str]) -> Iterator[Lists]:
    """Those of a key that nobody else has."""
    mine = Lists(storing_server, next(keys))
    yield mine
    mine.http.close()


@pytest.fixture(scope="package")
def mind(chrome: Browser) -> Iterator[BrowserContext]:
    """A browser's memory that keeps the page's files from test to test, and forgets what visitors have set."""
    with memory(chrome) as context:
        context.add_init_script("localStorage.clear()")
        yield context


@pytest.fixture
def desk(mind: BrowserContext, lists: Lists) -> Iterator[Desk]:
    """Somebody at the tab of vocabularies."""
    with visited(mind, lists.fake.base) as somebody:
        yield Desk(somebody, lists).enter()


@pytest.fixture
def jobs() -> FakeJobs:
    return FakeJobs()


@pytest.fixture
def jobs_base(jobs: FakeJobs) -> Iterator[str]:
    """The address of a server that keeps them."""
    with fake_server(lists=keeping(jobs)) as server:
        yield server.base


@pytest.fixture
def own_mind(chrome: Browser) -> Iterator[BrowserContext]:
    """A browser's memory that keeps what the page leaves there."""
    with memory(chrome) as context:
        yield context


@pytest.fixture
def job_desk(own_mind: BrowserContext, jobs: FakeJobs, jobs_base: str) -> Iterator[JobDesk]:
    """Somebody at the tab of jobs."""
    with visited(own_mind, jobs_base) as somebody:
        somebody.page.wait_for_selector("#server[data-state=ready]")
        somebody.page.click("#tab-jobs")
        yield JobDesk(somebody.page, jobs)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Four seconds in a file."""
    return write_wav(tmp_path / "recording.wav", tone(440, 4, 8_000), 8_000)
