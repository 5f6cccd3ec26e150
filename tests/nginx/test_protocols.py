"""Every protocol through nginx: the real server with keys, before it the configuration that is shipped."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
from clients.environments import interpreter
from openai import OpenAI
from real.scoring import character_errors, plain, wav_bytes, word_error_rate
from real.server import RealServer, start_server
from real.test_together import until

from benchmarks import audio
from tools.dialects import DIALECTS, Wishes, said

from .proxy import Nginx, free_ports, running

KEY = "the-right-key"
BEHIND = "127.0.0.2"
"""The server's own address, so that nginx's ports can be those of the server behind it."""
JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
FEW = 0.1
"""Words of live speech that may be others: where it pauses depends on how it is sent."""
MEBIBYTE = 1024 * 1024
CLIENTS = Path(__file__).parents[1] / "clients"


@dataclass(frozen=True)
class Served:
    """The server, nginx before it, and the ports of the protocols that have their own (at both)."""

    server: RealServer
    nginx: Nginx
    ports: dict[str, int]

    def url(self, protocol: str) -> str:
        """Where nginx takes it."""
        return f"http://127.0.0.1:{self.ports[protocol]}" if protocol in self.ports else self.nginx.base


@pytest.fixture(scope="module")
def served(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    numbers = free_ports(4)
    ports: dict[str, int] = dict(zip(("funasr", "oddasr", "oddasr_http", "wyoming"), numbers, strict=True))
    names = ("FUNASR_WS_PORT", "ODDASR_WS_PORT", "ODDASR_HTTP_PORT", "WYOMING_PORT")
    settings = dict(zip(names, map(str, numbers), strict=True)) | {"MAX_AUDIO_SIZE": "400MB"}
    started = start_server(models_dir, tmp_path_factory.mktemp("server"), API_KEYS=KEY, HOST=BEHIND, **settings)
    server = replace(started, base=started.base.replace("127.0.0.1", BEHIND))
    try:
        server.wait_until_ready()
        behind = server.base.removeprefix("http://")
        folder = tmp_path_factory.mktemp("nginx")
        with running(folder, [behind], **settings) as nginx:
            yield Served(server, nginx, ports)
            assert nginx.buffered() == []
        assert KEY not in nginx.log.read_text()
        assert until(lambda: server.active() == 0)
    finally:
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="module")
def sdk(served: Served) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{served.nginx.base}/v1", api_key=KEY, max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def jfk(shared_audio: Path) -> np.ndarray:
    return audio.read(shared_audio / "en_jfk.flac")


def test_openais_sdk_uploads(sdk: OpenAI, shared_audio: Path) -> None:
    heard = sdk.audio.transcriptions.with_raw_response.create(
        file=shared_audio / "en_jfk.flac",
        model="whisper-1",
        response_format="json",
        extra_headers={"x-request-id": "through-nginx"},
    )
    assert plain(heard.parse().text) == JFK
    assert heard.headers["x-request-id"] == "through-nginx"
    assert heard.headers["x-asr-model"] == "whisper-base"


def test_openais_sdk_streams(sdk: OpenAI, phone_call: Path) -> None:
    events = list(
        sdk.audio.transcriptions.create(
            file=phone_call / "sample.wav", model="whisper-1", response_format="json", stream=True
        )
    )
    assert events[-1].type == "transcript.text.done"
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == events[-1].text
    assert len(events) >= 3, "text by text"


def test_a_wrong_key_is_told_though_the_upload_goes_on(served: Served) -> None:
    with OpenAI(base_url=f"{served.nginx.base}/v1", api_key="wrong", max_retries=0) as stranger:
        for _ in range(5):
            with pytest.raises(openai.AuthenticationError):
                stranger.audio.transcriptions.create(file=("a.wav", bytes(5 * MEBIBYTE)), model="whisper-1")


def test_after_a_refused_upload_the_next_request_is_answered_too(served: Served) -> None:
    """nginx ends the connection of an upload that it has not read; who is told asks on another one."""
    upload = {"file": ("a.wav", bytes(5 * MEBIBYTE))}
    with httpx.Client(base_url=served.nginx.base, trust_env=False) as stranger:
        for _ in range(200):
            answer = stranger.post("/v1/audio/transcriptions", files=upload, data={"model": "whisper-1"})
            assert answer.status_code == 401
            assert "close" in answer.headers.get_list("connection", split_commas=True)
        for path in ("/v1/models", "/health"):
            assert "close" not in stranger.get(path).headers.get_list("connection", split_commas=True)


@pytest.mark.parametrize("mebibytes", [401, 600])
def test_a_larger_upload_than_allowed_is_refused(sdk: OpenAI, mebibytes: int) -> None:
    """By the server, and by nginx where there is no doubt."""
    with pytest.raises(openai.APIStatusError) as caught:
        sdk.audio.transcriptions.create(file=("a.wav", bytes(mebibytes * MEBIBYTE)), model="whisper-1")
    assert caught.value.status_code == 413
    assert caught.value.code == "upload_too_large"


def test_a_large_recording_is_not_written_to_disk_on_the_way(served: Served, sdk: OpenAI) -> None:
    silence = wav_bytes(np.zeros(10 * MEBIBYTE, "<i2"))  # 20 MB: eleven minutes
    heard = sdk.audio.transcriptions.create(file=("a.wav", silence), model="whisper-1", response_format="json")
    assert heard.text == ""
    assert served.nginx.buffered() == []


@pytest.mark.parametrize("protocol", sorted(DIALECTS))
def test_live_speech(served: Served, protocol: str, jfk: np.ndarray) -> None:
    wishes = Wishes(token=None if protocol == "wyoming" else KEY)
    heard = asyncio.run(said(protocol, served.url(protocol), jfk, 4.0, wishes))
    assert word_error_rate(JFK, heard.text) < FEW


def test_funasrs_own_port(served: Served, jfk: np.ndarray) -> None:
    heard = asyncio.run(said("funasr", f"http://127.0.0.1:{served.ports['funasr']}/any?token={KEY}", jfk, 4.0))
    assert word_error_rate(JFK, heard.text) < FEW


def test_alibaba_over_http(served: Served, shared_audio: Path) -> None:
    answer = httpx.post(
        f"{served.nginx.base}/stream/v1/asr",
        params={"format": "wav", "sample_rate": "16000"},
        headers={"x-nls-token": KEY},
        content=(shared_audio / "zh_asr_example.wav").read_bytes(),
        timeout=60,
    )
    assert character_errors("欢迎大家来体验达摩院推出的语音识别模型", answer.json()["result"]) <= 1


def test_oddasrs_client_at_its_port(served: Served, jfk: np.ndarray, tmp_path: Path) -> None:
    answer = httpx.post(
        f"http://127.0.0.1:{served.ports['oddasr_http']}/v1/asr",
        files={"audio": ("a.wav", wav_bytes(jfk))},
        data={"mode": "file", "output_format": "txt"},
        headers={"authorization": f"Bearer {KEY}"},
        timeout=60,
    )
    assert plain(answer.json()["text"]) == JFK
    refused = httpx.get(f"http://127.0.0.1:{served.ports['oddasr_http']}/v1/admin")
    assert refused.status_code == 403, "no other way round"


def test_whisper_asr_and_funasr_over_http(served: Served, jfk: np.ndarray) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    files = {"audio_file": ("a.wav", wav_bytes(jfk))}
    answer = httpx.post(f"{served.nginx.base}/asr", files=files, headers=headers, timeout=60)
    assert plain(answer.text) == JFK
    files = {"audio": ("a.wav", wav_bytes(jfk))}
    answer = httpx.post(f"{served.nginx.base}/recognition", files=files, headers=headers, timeout=60)
    assert plain(answer.json()["text"]) == JFK


def test_other_peoples_clients(served: Served, jfk: np.ndarray, tmp_path: Path) -> None:
    wav = tmp_path / "jfk.wav"
    wav.write_bytes(wav_bytes(jfk))
    wish = {"port": served.ports["wyoming"], "wavs": [str(wav)], "ask": {}, "seconds": 0.1, "pace": 4}
    assert "what you can do for your country" in plain(_played("wyoming", "wyoming_play.py", json.dumps(wish)))
    sdk = {"url": served.nginx.base.replace("http", "ws") + "/ws/v1", "token": KEY, "file": str(wav), "raw": False}
    sdk |= {"pace": 1, "chunk": 3200, "tasks": 1, "start": {}, "client": "transcriber"}
    assert "what you can do for your country" in plain(_played("nls", "nls_live.py", json.dumps(sdk)))


def test_the_page_and_its_files(served: Served) -> None:
    page = httpx.get(f"{served.nginx.base}/", headers={"accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    files = set(re.findall(r'(?:src|href)="(/?web/[^"]+)"', page.text))
    assert files
    for name in files:
        assert httpx.get(f"{served.nginx.base}/{name.lstrip('/')}").status_code == 200


def _played(environment: str, script: str, *arguments: str) -> str:
    """What a program of that environment prints."""
    command = [interpreter(environment), "-W", "ignore", CLIENTS / script, *arguments]
    folder = Path(tempfile.mkdtemp())  # one of them leaves a log where it runs
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
