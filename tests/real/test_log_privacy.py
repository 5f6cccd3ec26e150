"""Everything the real server logs at DEBUG while recordings, live streams and errors pass: whose each line is, and
neither keys nor names nor words, unless words are asked for. What formats make of lines: tests/service/test_logs.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tools.dialects import DIALECTS, said
from tools.dialects.hearing import StreamFailedError, Wishes

from .scoring import read_wav, wav_bytes
from .wires import Wires, start_wires

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KEY, ADMIN, WRONG = "sk-private-right-key", "sk-private-admin-key", "sk-private-wrong-key"
NAMES = ("private-file-name", "Privatehotword", "private-voice", "private prompt", "private-value", "private-query")
BEGIN, END = 12.4, 16.0
"""Seconds of the call in which two people say where they are."""


@dataclass
class Heard:
    """What a server was asked, and answered."""

    log: str = ""
    texts: list[str] = field(default_factory=list)
    answers: dict[str, int] = field(default_factory=dict)


def clip(phone_call: Path) -> NDArray[np.int16]:
    return read_wav(phone_call / "sample.wav")[round(BEGIN * 16_000) : round(END * 16_000)]


def post(client: httpx.Client, name: str, heard: Heard, path: str, **asked: Any) -> httpx.Response:
    headers = {"x-request-id": name} | asked.pop("headers", {})
    answer = client.post(path, headers=headers, **asked)
    heard.answers[name] = answer.status_code
    return answer


def recordings(base: str, sound: bytes, heard: Heard, *, one: bool = False) -> None:
    """In several protocols, right and wrong; or the first `one` only."""
    right, wrong = {"authorization": f"Bearer {KEY}"}, {"authorization": f"Bearer {WRONG}"}
    files = {"file": ("private-file-name.wav", sound)}
    whole = {
        "hotwords": "Privatehotword",
        "prompt": "private prompt",
        "field-of-somebody-s-own": "private-value",
        "language": "en",
    }
    with httpx.Client(base_url=base, timeout=120) as client:
        path = "/v1/audio/transcriptions"
        heard.texts.append(post(client, "json", heard, path, files=files, data=whole, headers=right).json()["text"])
        if one:
            return
        post(client, "sse", heard, path, files=files, data=whole | {"stream": "true"}, headers=right)
        post(client, "nls", heard, f"/stream/v1/asr?token={KEY}&own-parameter=private-query", content=sound)
        post(client, "odd", heard, f"/v1/asr?token={KEY}", files={"audio": files["file"]})
        post(
            client,
            "whisper",
            heard,
            "/asr?initial_prompt=private+prompt",
            files={"audio_file": files["file"]},
            headers=right,
        )
        post(client, "wrong-key", heard, path, files=files, headers=wrong)
        post(client, "wrong-query", heard, f"/stream/v1/asr?token={WRONG}", content=sound)
        broken = {"file": ("private-file-name.wav", io.BytesIO(b"private prompt" * 1000))}
        post(client, "broken", heard, path, files=broken, headers=right)
        unknown = whole | {"model": "no-such-model"}
        post(client, "unknown-model", heard, path, files=files, data=unknown, headers=right)
        post(
            client,
            "voice",
            heard,
            "/v1/voices",
            files={"files": files["file"]},
            data={"name": "private-voice"},
            headers=right,
        )
        post(client, "nowhere", heard, "/private-voice/private-query", headers=right)
        admin = client.get("/v1/admin", headers={"authorization": f"Bearer {ADMIN}", "x-request-id": "admin"})
        assert admin.status_code == 200


async def lost(addresses: Iterable[str]) -> None:
    """Clients that ask for what nobody is to read, where there is nothing or where every path will do."""
    for address in addresses:
        url = f"{address.replace('http', 'ws', 1)}/private-voice/private-file-name?token={WRONG}&x=private-query"
        with contextlib.suppress(InvalidStatus):
            async with connect(url, proxy=None):
                pass


async def streams(wires: Wires, sound: NDArray[np.int16], protocols: Iterable[str], heard: Heard) -> None:
    """In live protocols, with the right key and with a wrong one."""
    for protocol in protocols:
        able = "token" in DIALECTS[protocol].can_say
        right = Wishes(token=KEY, hotwords=("Privatehotword",), guesses=False) if able else Wishes(guesses=False)
        heard.texts.append((await said(protocol, wires.url(protocol), sound, wishes=right)).text)
        if able:
            with pytest.raises(StreamFailedError):
                await said(protocol, wires.url(protocol), sound, wishes=Wishes(token=WRONG))


def asked(
    models_dir: Path, phone_call: Path, folder: Path, *, protocols: Iterable[str] = DIALECTS, **settings: str
) -> Heard:
    """A server's log after all that."""
    settings |= {"API_KEYS": KEY, "ADMIN_KEYS": ADMIN, "SPEAKER_DIARIZATION": "asked", "ASR_BEAM_SIZE": "1"}
    wires = start_wires(models_dir, folder, DATA_DIR=str(folder / "data"), **settings)
    heard, sound = Heard(), clip(phone_call)
    try:
        wires.server.wait_until_ready()
        recordings(wires.server.base, wav_bytes(sound), heard, one=protocols is not DIALECTS)
        asyncio.run(streams(wires, sound, protocols, heard))
        asyncio.run(lost([wires.server.base, wires.url("oddasr")]))
        wires.server.stop(signal.SIGTERM)
    finally:
        wires.server.process.kill()
        wires.server.process.wait()
    heard.log = wires.server.log.read_text("utf-8")
    return heard


@pytest.fixture(scope="module")
def heard(models_dir: Path, phone_call: Path, tmp_path_factory: pytest.TempPathFactory) -> Heard:
    return asked(models_dir, phone_call, tmp_path_factory.mktemp("server"), LOG_LEVEL="DEBUG", LOG_FORMAT="json")


def phrases(text: str) -> set[str]:
    """Every three words in a row."""
    words = re.findall(r"[a-z']+", text.lower())
    return {" ".join(words[first : first + 3]) for first in range(len(words) - 2)}


def test_everything_was_asked(heard: Heard) -> None:
    assert heard.answers == {
        **{"json": 200, "sse": 200, "nls": 200, "odd": 200, "whisper": 200},
        **{"wrong-key": 401, "wrong-query": 401, "broken": 400, "unknown-model": 404, "voice": 201, "nowhere": 404},
    }
    assert len(heard.texts) == 1 + len(DIALECTS)
    assert all(len(phrases(text)) > 1 for text in heard.texts), heard.texts


def test_neither_keys_nor_names_nor_words_are_logged(heard: Heard) -> None:
    for secret in (KEY, ADMIN, WRONG, *NAMES):
        assert secret.lower() not in heard.log.lower()
    words = " ".join(re.findall(r"[a-z']+", heard.log.lower()))
    assert not {phrase for text in heard.texts for phrase in phrases(text) if phrase in words}
    assert "Traceback" not in heard.log
    assert not [line for line in heard.log.splitlines() if "127.0.0.1:" in line and "listening on" not in line]


def test_every_request_and_stream_has_its_lines(heard: Heard) -> None:
    for name, status in heard.answers.items():
        answered = [line for line in heard.log.splitlines() if name in line and "answered" in line]
        assert len(answered) == 1, name
        assert str(status) in answered[0]
    for kind, count in (("recording done", 6), ("stream done", len(DIALECTS))):
        lines = [line for line in heard.log.splitlines() if kind in line]
        assert len(lines) == count, "\n".join(lines)
        assert all("request_id" in line for line in lines)


def test_every_websocket_has_its_line(heard: Heard) -> None:
    lines = [json.loads(line) for line in heard.log.splitlines() if '"connection ended"' in line]
    assert {line["path"] for line in lines} > {"(unknown)", "(OddASR's live protocol's own port)", "/ws/funasr"}
    assert all(line["method"] == "WebSocket" and line["request_id"] for line in lines)
    assert [line["status"] for line in lines if line["path"] == "(unknown)"] == [403]


def test_words_are_logged_where_that_is_set(models_dir: Path, phone_call: Path, tmp_path: Path) -> None:
    heard = asked(
        models_dir, phone_call, tmp_path, protocols=("funasr", "wyoming"), LOG_FORMAT="json", LOG_TRANSCRIPTS="true"
    )
    lines = [json.loads(line) for line in heard.log.splitlines() if line.startswith("{")]
    assert any(line["level"] == "warning" and "LOG_TRANSCRIPTS" in line["message"] for line in lines)
    logged = [line["text"] for line in lines if line["message"] == "transcript"]
    assert heard.texts[0] in logged
    assert all(any(one in text for one in logged) for text in heard.texts)
    for secret in (KEY, ADMIN, WRONG, "private-file-name", "private-voice"):
        assert secret not in heard.log
