"""A decoder that dies in the middle of a file costs the whole server exactly one request."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from .server import RealServer

REQUESTS = 6


def decoders(server: RealServer) -> list[int]:
    """The decoders' process ids."""
    pids: list[int] = []
    for listing in Path(f"/proc/{server.process.pid}/task").glob("*/children"):
        for pid in listing.read_text().split():
            if "app.audio.worker" in Path(f"/proc/{pid}/cmdline").read_text():
                pids.append(int(pid))
    return pids


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_decoder_killed_on_a_file_costs_one_request(small_server: RealServer, phone_call: Path) -> None:
    content = (phone_call / "sample.wav").read_bytes()

    def ask(_: int) -> httpx.Response:
        url = f"{small_server.base}/v1/audio/transcriptions"
        form = {"response_format": "json", "language": "en"}
        return httpx.post(url, files={"file": content}, data=form, timeout=60)

    alone = ask(0).text
    before = decoders(small_server)
    for pid in before:
        os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(REQUESTS) as clients:
        work = [clients.submit(ask, number) for number in range(REQUESTS)]
        until(lambda: len(list(small_server.temp.glob("sound-*"))) == len(before))
        os.kill(before[0], signal.SIGKILL)
        for pid in before[1:]:
            os.kill(pid, signal.SIGCONT)
        answers = [each.result() for each in work]
    failed = [answer for answer in answers if answer.status_code != 200]
    assert [answer.status_code for answer in failed] == [500]
    assert failed[0].json()["error"]["code"] == "engine_failure"
    assert [answer.text for answer in answers if answer.status_code == 200] == [alone] * (REQUESTS - 1)
    assert ask(0).text == alone
    until(lambda: len(decoders(small_server)) == len(before))
    until(lambda: list(small_server.temp.iterdir()) == [])
