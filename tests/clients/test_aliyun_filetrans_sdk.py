"""Alibaba Cloud's SDKs against the file transcription of the real server and a real model: from a task to its text, by
asking for it and by a callback."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, cast

import pytest
from environments import interpreter
from real.scoring import character_errors, plain
from real.server import RealServer, start_server

SCRIPT, DASHSCOPE = (Path(__file__).with_name(name) for name in ("filetrans_play.py", "dashscope_play.py"))
RECORDING, SAID = "zh_asr_example.wav", "欢迎大家来体验达摩院推出的语音识别模型"
KEY, PATIENCE = "LTAI-the-key", 120.0


class _Files(SimpleHTTPRequestHandler):
    """Recordings, which are asked for where they lie; and callbacks, which are kept."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        cast("_Neighbour", self.server).heard.put(json.loads(body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


class _Neighbour(ThreadingHTTPServer):
    """Another server on this machine."""

    def __init__(self, folder: Path) -> None:
        def handler(*given: Any) -> BaseHTTPRequestHandler:
            return _Files(*given, directory=str(folder))

        super().__init__(("127.0.0.1", 0), handler)
        self.heard: Queue[dict[str, Any]] = Queue()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture(scope="module")
def neighbour(shared_audio: Path) -> Iterator[_Neighbour]:
    server = _Neighbour(shared_audio)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def server(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """One with a key, that may ask this machine for recordings, and tell it of them."""
    networks = dict.fromkeys(("AUDIO_ADDRESS_NETWORKS", "WEBHOOK_NETWORKS"), "127.0.0.0/8")
    server = start_server(models_dir, tmp_path_factory.mktemp("filetrans"), API_KEYS=KEY, **networks)
    try:
        server.wait_until_ready()
        yield server
        log = server.log.read_text()
        assert "Traceback" not in log
        assert KEY not in log
    finally:
        server.process.kill()
        server.process.wait()


def play(server: RealServer, key: str = KEY, **task: Any) -> list[dict[str, Any]]:
    """What the SDK returned, call by call."""
    given = {"host": server.base.removeprefix("http://"), "key": key, "task": task, "patience": PATIENCE}
    command = [interpreter("filetrans"), "-W", "ignore", SCRIPT, json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE + 60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_task_from_its_submission_to_its_text_and_its_callback(server: RealServer, neighbour: _Neighbour) -> None:
    submitted, *polls, last = play(
        server,
        appkey="any",
        file_link=f"{neighbour.base}/{RECORDING}",
        version="4.0",
        enable_words=True,
        enable_sample_rate_adaptive=True,
        enable_callback=True,
        callback_url=f"{neighbour.base}/heard",
        language="zh",
    )
    assert (submitted["StatusText"], submitted["StatusCode"]) == ("SUCCESS", 21050000)
    assert {poll["StatusText"] for poll in polls} <= {"QUEUEING", "RUNNING"}
    assert (last["StatusText"], last["TaskId"]) == ("SUCCESS", submitted["TaskId"])
    sentences, words = last["Result"]["Sentences"], last["Result"]["Words"]
    assert character_errors(SAID, plain("".join(one["Text"] for one in sentences))) <= 1
    assert {one["ChannelId"] for one in (*sentences, *words)} == {0}
    assert all(one["BeginTime"] < one["EndTime"] <= last["BizDuration"] + 100 for one in sentences)
    assert "".join(plain(word["Word"]) for word in words) == plain("".join(one["Text"] for one in sentences))
    assert all(one["SpeechRate"] > 60 for one in sentences)

    told = neighbour.heard.get(timeout=60)
    assert told.keys() == {
        "Result", "TaskId", "StatusCode", "StatusText", "RequestTime", "SolveTime", "BizDuration"
    }  # fmt: skip
    assert (told["TaskId"], told["Result"], told["SolveTime"]) == (last["TaskId"], last["Result"], last["SolveTime"])
    assert told["RequestTime"] <= told["SolveTime"]
    assert neighbour.heard.empty(), "the end is told, and nothing before it"


def test_a_callback_of_version_2(server: RealServer, neighbour: _Neighbour) -> None:
    *_, last = play(
        server,
        appkey="any",
        file_link=f"{neighbour.base}/{RECORDING}",
        enable_callback=True,
        callback_url=f"{neighbour.base}/heard",
    )
    told = neighbour.heard.get(timeout=60)
    assert (told["task_id"], told["status_code"]) == (last["TaskId"], 21050000)
    assert [one["text"] for one in told["result"]] == [one["Text"] for one in last["Result"]["Sentences"]]


def test_a_recording_that_is_not_there(server: RealServer, neighbour: _Neighbour) -> None:
    submitted, *_, last = play(server, appkey="any", file_link=f"{neighbour.base}/nothing.wav", version="4.0")
    assert submitted["StatusText"] == "SUCCESS"
    assert (last["StatusText"], last["StatusCode"]) == ("FILE_DOWNLOAD_FAILED", 41050002)


def test_a_task_that_is_refused(server: RealServer) -> None:
    (told,) = play(server, appkey="any", file_link="https://example.com/a.wav", enable_callback=True)
    assert (told["StatusText"], told["StatusCode"]) == ("REQUEST_INVALID_CALLBACK_VALUE", 41050012)


def test_a_wrong_key_is_the_sdks_error(server: RealServer) -> None:
    (told,) = play(server, key="LTAI-another", appkey="any", file_link="https://example.com/a.wav")
    assert (told["raised"]["code"], told["raised"]["status"]) == ("InvalidAccessKeyId.NotFound", 401)


# --- DashScope --------------------------------------------------------------------------------------------------------


def play_dashscope(server: RealServer, url: str, key: str = KEY, **options: Any) -> dict[str, Any]:
    """What the SDK returned."""
    base = f"{server.base}/api/v1"
    given = {"base": base, "key": key, "url": url, "options": options, "patience": PATIENCE}
    command = [interpreter("dashscope"), "-W", "ignore", DASHSCOPE, json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE + 120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_dashscope_from_its_submission_to_the_text_at_its_address(server: RealServer, neighbour: _Neighbour) -> None:
    url = f"{neighbour.base}/{RECORDING}"
    told = play_dashscope(server, url, language_hints=["zh"])
    assert told["submitted"]["output"]["task_status"] == "PENDING"
    output = told["outcome"]["output"]
    assert (output["task_status"], output["task_metrics"]["SUCCEEDED"]) == ("SUCCEEDED", 1)
    assert told["outcome"]["usage"]["duration"] > 0
    assert told["transcription"]["file_url"] == url
    (channel,) = told["transcription"]["transcripts"]
    assert character_errors(SAID, plain(channel["text"])) <= 1
    words = [word for sentence in channel["sentences"] for word in sentence["words"]]
    assert plain("".join(word["text"] for word in words)) == plain(channel["text"])


def test_dashscope_is_told_of_a_recording_that_is_not_there(server: RealServer, neighbour: _Neighbour) -> None:
    output = play_dashscope(server, f"{neighbour.base}/nothing.wav")["outcome"]["output"]
    assert (output["task_status"], output["code"]) == ("FAILED", "FILE_DOWNLOAD_FAILED")


def test_dashscope_is_told_of_a_wrong_key(server: RealServer) -> None:
    submitted = play_dashscope(server, "https://example.com/a.wav", key="another")["submitted"]
    assert (submitted["status"], submitted["code"]) == (401, "InvalidApiKey")
