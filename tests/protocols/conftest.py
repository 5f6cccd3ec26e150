from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from openai import OpenAI
from openai_server import KEY, Calls, Running, serving, wait_until


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("uploads")) as running:
        yield running


@pytest.fixture
def server(_server: Running) -> Iterator[Running]:
    _server.service.calls = Calls()
    yield _server
    assert wait_until(lambda: not list(_server.temp.iterdir())), "an upload was left behind"


@pytest.fixture
def client(server: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.base}/v1", api_key=KEY, max_retries=0, timeout=10) as sdk:
        yield sdk


@pytest.fixture
def raw(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.base, headers={"authorization": f"Bearer {KEY}"}, timeout=10) as http:
        yield http
