from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from asyncapi_document import recording
from openai import OpenAI
from openai_server import KEY, Calls, Running, serving, wait_until

_CHANNELS = {
    "test_aliyun_": "aliyun",
    "test_funasr_": "funasr",
    "test_qwen_": "qwen",
    "test_realtime_": "realtime",
    "test_vllm_": "realtime",
    "test_oddasr_": "oddasr",
    "test_wyoming_": "wyoming",
}
"""Whose messages a file's sessions are told, by the beginning of its name."""


@pytest.fixture(autouse=True)
def _as_documented(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every live message that the server sends is one that the AsyncAPI document describes."""
    channel = next((one for name, one in _CHANNELS.items() if request.path.name.startswith(name)), None)
    if channel is None:
        yield
        return
    with recording(channel, clients=False) as recorded:
        yield
    assert recorded.strange == []


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
