"""Alibaba's HTTP routes as their users have them: curl lines pasted into a shell, and a plain http client."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from audio.making import encode
from models.speech import RATE, say
from protocols.shelf import recording_at

from benchmarks import audio

from .scoring import plain, wav_bytes, word_error_rate
from .server import RealServer, start_server

TOKEN, APPKEY = "my-token", "my-project"
JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
README = {
    "paraformer": """
curl -X POST "http://localhost:8000/stream/v1/asr?model_id=paraformer-large&sample_rate=16000" \\
  -H "Content-Type: application/octet-stream" -H "X-NLS-Token: my-token" --data-binary @audio.wav
""",
    "default model": """
curl -X POST "http://localhost:8000/stream/v1/asr?sample_rate=16000" \\
  -H "X-NLS-Token: my-token" --data-binary @audio.wav
""",
    "words": """
curl -X POST "http://localhost:8000/stream/v1/asr?word_timestamps=true&enable_speaker_diarization=false&appkey=any" \\
  -H "X-NLS-Token: my-token" -H "Content-Type: application/octet-stream" --data-binary @audio.wav
""",
    "hotwords": """
curl -X POST "http://localhost:8000/stream/v1/asr?vocabulary_id=%E4%BA%BA%E5%B7%A5%E6%99%BA%E8%83%BD%2020" \\
  -H "X-NLS-Token: my-token" --data-binary @audio.wav
""",
    "token in the address": """
curl -X POST "http://localhost:8000/stream/v1/asr?token=my-token&format=pcm&sample_rate=16000" \\
  --data-binary @audio.wav
""",
    "samples": """
curl -X POST "http://localhost:8000/stream/v1/asr?format=pcm&sample_rate=16000" \\
  -H "X-NLS-Token: my-token" --data-binary @audio.pcm
""",
    "another rate": """
curl -X POST "http://localhost:8000/stream/v1/asr?format=pcm&sample_rate=24000" \\
  -H "X-NLS-Token: my-token" --data-binary @audio24k.pcm
""",
}

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
Curl = Callable[[str], tuple[int, dict[str, str], dict[str, Any]]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: a sentence that the small model knows, as a file, as samples, and as other things."""
    place = tmp_path_factory.mktemp("user")
    said = say("人工智能改变世界", "cmn+f4", speed=150)
    gap = np.zeros(RATE // 2, np.float32)
    sound = np.concatenate([gap, said, gap])
    sound += np.random.default_rng(1).standard_normal(len(sound)).astype(np.float32) * 3e-4
    samples = (np.clip(sound, -1, 1) * 32767).astype("<i2")
    (place / "audio.wav").write_bytes(wav_bytes(samples))
    (place / "audio.pcm").write_bytes(samples.tobytes())
    finer = np.interp(np.arange(len(samples) * 3 // 2) * 2 / 3, np.arange(len(samples)), samples)
    (place / "audio24k.pcm").write_bytes(finer.astype("<i2").tobytes())
    (place / "empty.wav").write_bytes(b"")
    (place / "broken.wav").write_bytes(np.random.default_rng(2).bytes(5000))
    (place / "cut.wav").write_bytes(wav_bytes(samples)[:30])
    return place


@pytest.fixture(scope="module")
def server(models_dir: Path, shared_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A small checkpoint stands in for Paraformer."""
    running = start_server(
        models_dir,
        tmp_path_factory.mktemp("server"),
        ASR_MODEL="paraformer-large",
        ASR_MODEL_DIR_PARAFORMER_LARGE=str(shared_models / "paraformer-tiny-onnx"),
        APPTOKEN=TOKEN,
        AUDIO_ADDRESS_NETWORKS="127.0.0.1/32",
        MAX_WAIT_SECONDS="600",
    )
    yield from lived(running)


@pytest.fixture(scope="module")
def strict_server(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """Whisper, set up to answer as the cloud does."""
    running = start_server(
        models_dir,
        tmp_path_factory.mktemp("strict"),
        ALIYUN_STRICT="true",
        APPTOKEN=TOKEN,
        APPKEY=APPKEY,
        MAX_WAIT_SECONDS="600",
    )
    yield from lived(running)


def lived(running: RealServer) -> Iterator[RealServer]:
    try:
        running.wait_until_ready()
        yield running
        assert running.active() == 0
        assert running.stop(signal.SIGINT) in {0, 130}
        log = running.log.read_text()
        assert "Traceback" not in log
        assert "人工智能" not in log
        assert TOKEN not in log
    finally:
        running.process.kill()
        running.process.wait()


@pytest.fixture
def curl(server: RealServer, folder: Path) -> Curl:
    """A line pasted into a shell: its status, headers and JSON."""

    def pasted(line: str) -> tuple[int, dict[str, str], dict[str, Any]]:
        command = line.strip().replace("http://localhost:8000", server.base).replace("curl ", "curl -sS -i ", 1)
        ran = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, check=True, timeout=120)
        head, _, body = ran.stdout.partition(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 100"):
            head, _, body = body.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(one.split(": ", 1) for one in lines)
        return int(first.split()[1]), headers, json.loads(body)

    return pasted


def check(headers: dict[str, str], body: dict[str, Any]) -> None:
    """Field by field, as funasr-api answers."""
    assert set(body) - {"warnings"} == {
        "task_id",
        "result",
        "status",
        "message",
        "segments",
        "duration",
        "processing_time",
    }
    assert re.fullmatch(r"[0-9a-f]{32}", body["task_id"])
    assert headers["task_id"] == body["task_id"]
    assert headers["x-asr-model"] == "paraformer-large"
    assert (body["status"], body["message"]) == (200, "SUCCESS")
    assert body["result"] == "\n".join(segment["text"] for segment in body["segments"])
    assert "人工智能" in body["result"]
    assert 1.5 < body["duration"] < 6
    assert 0 < body["processing_time"] < 60
    assert all(0 <= one["start_time"] < one["end_time"] <= body["duration"] for one in body["segments"])


@pytest.mark.parametrize("name", README)
def test_lines_of_the_readme_as_pasted(curl: Curl, name: str) -> None:
    status, headers, body = curl(README[name])
    assert status == 200, body
    check(headers, body)
    told_apart = name != "words"
    assert all(("speaker_id" in one) == told_apart for one in body["segments"])
    assert all(("word_tokens" in one) == (name == "words") for one in body["segments"])
    if name == "words":
        tokens = [token for segment in body["segments"] for token in segment["word_tokens"]]
        assert all(list(token) == ["text", "start_time", "end_time"] for token in tokens)
        assert 0.4 < tokens[0]["start_time"] < 1.2, "of the recording, which begins with half a second of quiet"
        assert "".join(token["text"] for token in tokens) == "".join(plain(body["result"]).split())


def test_a_stored_vocabulary(curl: Curl, server: RealServer) -> None:
    sent = {"name": "词表", "hotwords": "人工智能 20\n阿里巴巴 10"}
    key = {"x-nls-token": TOKEN}
    stored = httpx.post(f"{server.base}/v1/vocabularies", json=sent, headers=key).json()["id"]
    line = f"""curl -X POST "http://localhost:8000/stream/v1/asr?vocabulary_id={stored}" \\
  -H "X-NLS-Token: {TOKEN}" --data-binary @audio.wav"""
    status, headers, body = curl(line)
    assert status == 200
    check(headers, body)
    status, _, body = curl(line.replace(stored, "vocab_" + "0" * 24))
    assert (status, body["error_code"], body["status"]) == (404, "INVALID_PARAMETER", 40000003)


def test_a_recording_at_an_address(curl: Curl, folder: Path) -> None:
    with recording_at((folder / "audio.wav").read_bytes()) as shelf:
        said = urllib.parse.quote(shelf.url, safe="")
        line = f"""curl -X POST "http://localhost:8000/stream/v1/asr?audio_address={said}" -H "X-NLS-Token: {TOKEN}" """
        status, headers, body = curl(line)
        assert status == 200, body
        check(headers, body)
        status, headers, again = curl(line + "--data-binary @broken.wav")
        assert (status, again["result"]) == (200, body["result"]), "the address wins"
    status, _, body = curl(line)
    assert (status, body["status"], body["details"]) == (400, 41050002, {"parameter": "audio_address"})


def test_special_words(curl: Curl) -> None:
    said = urllib.parse.quote(json.dumps({"filter_with_signed": {"word_list": ["人工智能"]}}))
    status, _, body = curl(
        f"""curl -X POST "http://localhost:8000/stream/v1/asr?special_word_filter={said}&word_timestamps=true" \\
  -H "X-NLS-Token: {TOKEN}" --data-binary @audio.wav"""
    )
    assert status == 200, body
    assert "****" in body["result"]
    assert not set("人工智能") & set(json.dumps(body, ensure_ascii=False))


@pytest.mark.parametrize(
    ("file", "query", "http_status", "name", "number"),
    [
        ("empty.wav", "", 400, "INVALID_MESSAGE", 40270002),
        ("broken.wav", "", 400, "INVALID_MESSAGE", 40270003),
        ("cut.wav", "", 400, "INVALID_MESSAGE", 40270003),
        ("audio.wav", "&sample_rate=1000", 400, "INVALID_PARAMETER", 41010101),
        ("audio.wav", "&format=docx", 400, "INVALID_PARAMETER", 41010100),
        ("audio.wav", "&model_id=qwen3-asr", 404, "INVALID_PARAMETER", 40000003),
        ("audio.wav", "&enable_speaker_diarization=perhaps", 400, "INVALID_PARAMETER", 40000003),
    ],
)
def test_what_goes_wrong_is_told(curl: Curl, file: str, query: str, http_status: int, name: str, number: int) -> None:
    line = f"""curl -X POST "http://localhost:8000/stream/v1/asr?token={TOKEN}{query}" --data-binary @{file}"""
    status, headers, body = curl(line)
    assert (status, body["error_code"], body["status"], body["result"]) == (http_status, name, number, ""), body
    assert headers["task_id"] == body["task_id"]
    assert "upload-" not in body["message"]
    status, _, body = curl(line + ' -H "X-NLS-Strict: 1"')
    assert list(body) == ["task_id", "result", "status", "message"]
    assert (status, body["status"]) == (http_status, number)


def test_a_wrong_token(curl: Curl) -> None:
    for told in ('-H "X-NLS-Token: wrong-token-1"', '-H "Authorization: Bearer wrong-token-1"', ""):
        status, _, body = curl(f'curl -X POST "http://localhost:8000/stream/v1/asr" {told} --data-binary @audio.wav')
        assert (status, body["error_code"], body["status"]) == (401, "AUTHENTICATION_FAILED", 40000001)
        assert "wrong-token" not in json.dumps(body)


def test_models_and_health(curl: Curl) -> None:
    status, _, models = curl(f'curl "http://localhost:8000/stream/v1/asr/models" -H "X-NLS-Token: {TOKEN}"')
    assert status == 200
    assert [(one["id"], one["engine"], one["loaded"]) for one in models["models"]] == [
        ("paraformer-large", "paraformer", True)
    ]
    status, _, health = curl(f'curl "http://localhost:8000/stream/v1/asr/health" -H "X-NLS-Token: {TOKEN}"')
    assert (status, health["status"], health["loaded_models"]) == (200, "healthy", ["paraformer-large"])
    assert (health["device"], health["memory_usage"]) == ("cpu", None)


# --- the cloud's clients ----------------------------------------------------------------------------------------------


def sample_client(server: RealServer, content: bytes, **extra: str) -> tuple[int, dict[str, Any]]:
    """A plain http client as the service's documents have it: everything in the address, the token in a header."""
    asked = {"appkey": APPKEY, "format": "pcm", "sample_rate": "16000", "enable_punctuation_prediction": "true"}
    asked |= {"enable_inverse_text_normalization": "true", "enable_voice_detection": "true"} | extra
    headers = {"X-NLS-Token": TOKEN, "Content-type": "application/octet-stream", "Content-Length": str(len(content))}
    connection = http.client.HTTPConnection(server.base.removeprefix("http://"), timeout=120)
    try:
        connection.request("POST", f"/stream/v1/asr?{urllib.parse.urlencode(asked)}", body=content, headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def speech(shared_audio: Path) -> np.ndarray:
    return audio.read(shared_audio / "en_jfk.flac")


def test_the_documents_http_client(strict_server: RealServer, speech: np.ndarray) -> None:
    status, body = sample_client(strict_server, wav_bytes(speech))
    assert list(body) == ["task_id", "result", "status", "message"]
    assert (status, body["status"], body["message"]) == (200, 20000000, "SUCCESS")
    assert re.fullmatch(r"[0-9a-f]{32}", body["task_id"])
    assert word_error_rate(JFK, body["result"]) < 0.1
    assert "\n" not in body["result"]
    raw = sample_client(strict_server, speech.astype("<i2").tobytes())[1]
    assert raw["result"] == body["result"], "samples without a header, as format=pcm says"
    status, body = sample_client(strict_server, wav_bytes(speech), appkey="another")
    assert (status, body["status"], body["result"]) == (403, 40020105, "")
    assert body["message"].startswith("Gateway:APPKEY_NOT_EXIST:")


def test_a_client_with_urllib(strict_server: RealServer, speech: np.ndarray) -> None:
    request = urllib.request.Request(
        f"{strict_server.base}/stream/v1/asr?appkey={APPKEY}", data=wav_bytes(speech), headers={"X-NLS-Token": TOKEN}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        assert answer.headers["task_id"]
        body = json.loads(answer.read())
    assert (body["status"], word_error_rate(JFK, body["result"]) < 0.1) == (20000000, True)


def test_the_flash_recognizer(strict_server: RealServer, speech: np.ndarray) -> None:
    query = f"appkey={APPKEY}&token={TOKEN}&format=wav&enable_word_level_result=true&sentence_max_length=50"
    answer = httpx.post(
        f"{strict_server.base}/stream/v1/FlashRecognizer?{query}", content=wav_bytes(speech), timeout=120
    )
    body = answer.json()
    assert (answer.status_code, body["status"], body["message"]) == (200, 20000000, "SUCCESS"), body
    result = body["flash_result"]
    assert abs(result["duration"] - 11_000) < 100
    assert 0 < result["latency"] < 120_000
    assert result["completed"] is True
    assert word_error_rate(JFK, " ".join(one["text"] for one in result["sentences"])) < 0.1
    assert all(len(one["text"]) <= 50 for one in result["sentences"])
    times = [word[name] for one in result["sentences"] for word in one["words"] for name in ("begin_time", "end_time")]
    assert all(isinstance(time, int) for time in times)
    assert times == sorted(times)
    for one in result["sentences"]:
        spelt = "".join(word["text"] + word["punc"] for word in one["words"])
        assert spelt == "".join(one["text"].split())


def test_flash_keeps_channels_apart(strict_server: RealServer, shared_audio: Path) -> None:
    content = (shared_audio / "stereo_two_speakers.wav").read_bytes()

    def heard(first: str) -> dict[int, str]:
        url = f"{strict_server.base}/stream/v1/FlashRecognizer?appkey={APPKEY}&token={TOKEN}&first_channel_only={first}"
        result = httpx.post(url, content=content, timeout=120).json()["flash_result"]
        channels: dict[int, list[str]] = {}
        for one in result["sentences"]:
            channels.setdefault(one["channel_id"], []).append(one["text"])
        return {channel: plain(" ".join(texts)) for channel, texts in channels.items()}

    both = heard("false")
    assert set(both) == {0, 1}
    assert "wizard" in both[0]
    assert "horizon" in both[1]
    assert heard("true") == {0: both[0]}


@pytest.mark.parametrize(
    ("codec", "container", "name", "rate"),
    [
        ("libopus", "webm", "webm", 48_000),
        ("libopus", "ogg", "opus", 48_000),
        ("libopencore_amrnb", "amr", "amr", 8_000),
        ("libmp3lame", "mp3", "mp3", 16_000),
        ("aac", "ipod", "m4a", 16_000),
        ("aac", "adts", "aac", 16_000),
        ("flac", "flac", "", 16_000),
    ],
)
def test_bodies_of_any_format(
    strict_server: RealServer, speech: np.ndarray, tmp_path: Path, codec: str, container: str, name: str, rate: int
) -> None:
    whole = speech.astype(np.float32) / 32768
    places = np.arange(round(len(whole) * rate / RATE)) * RATE / rate
    sound = np.interp(places, np.arange(len(whole)), whole)
    path = encode(
        tmp_path / "sound", sound, codec, rate=rate, container=container, bit_rate=12_200 if rate == 8_000 else None
    )
    status, body = sample_client(strict_server, path.read_bytes(), format=name, sample_rate="16000")
    assert (status, body["status"]) == (200, 20000000), body
    assert word_error_rate(JFK, body["result"]) < 0.15
