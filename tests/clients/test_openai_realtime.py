"""Clients of OpenAI's Realtime protocol against the real server and a real model: what they tell their users."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from environments import interpreter
from real.scoring import word_error_rate
from real.server import RealServer, start_server
from websockets.sync.client import ClientConnection, connect

HERE = Path(__file__).resolve().parent
JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
KEY = "the-right-key"
RATE = 24_000
PAUSE = {"type": "server_vad", "silence_duration_ms": 500}
"""The speech has three turns with this."""
TURNS = 3
DELTA, SEGMENT, COMPLETED = (
    f"conversation.item.input_audio_transcription.{what}" for what in ("delta", "segment", "completed")
)


@pytest.fixture(scope="module")
def server(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    server = start_server(models_dir, tmp_path_factory.mktemp("keyed"), API_KEYS=KEY, LOG_LEVEL="DEBUG")
    try:
        server.wait_until_ready()
        yield server
        assert server.active() == 0
        assert server.stop(signal.SIGINT) in {0, 130}
        log = server.log.read_text()
        assert "Traceback" not in log
        assert " ERROR " not in log
        assert KEY not in log
        assert "ek_" not in log
        assert "country" not in log
    finally:
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="module")
def jfk(shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples, rate = soundfile.read(shared_audio / "en_jfk.flac", always_2d=True)
    path = tmp_path_factory.mktemp("jfk") / "jfk.pcm"
    path.write_bytes((soxr.resample(samples.mean(axis=1), rate, RATE) * 32767).astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def quiet(jfk: Path) -> Path:
    path = jfk.with_name("quiet.pcm")
    path.write_bytes(np.zeros(RATE, "<i2").tobytes())
    return path


def play(client: str, server: RealServer, sound: Path, **wish: Any) -> list[dict[str, Any]]:
    """What a client tells when it plays a recording."""
    given = json.dumps({"base": f"{server.base}/v1", "key": KEY, "sound": str(sound), "pace": 1, **wish})
    command = [interpreter(client), HERE / f"{client}_play.py", given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def of_type(told: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in told if one["type"] == kind]


def check_items(told: list[dict[str, Any]]) -> None:
    """Every item is committed, in order, and gets its text, after its deltas."""
    committed = [one["item_id"] for one in of_type(told, "input_audio_buffer.committed")]
    assert [one["item_id"] for one in of_type(told, COMPLETED)] == committed
    previous = [one["previous_item_id"] for one in of_type(told, "input_audio_buffer.committed")]
    assert previous == [None, *committed[:-1]]
    for item in committed:
        kinds = [one["type"] for one in told if one.get("item_id") == item]
        assert DELTA not in kinds[kinds.index(COMPLETED) :]
    assert not of_type(told, "error")


def text_of(told: list[dict[str, Any]]) -> str:
    return " ".join(one["transcript"] for one in of_type(told, COMPLETED))


def transcribing(language: str = "en", **heard: Any) -> dict[str, Any]:
    return {
        "type": "transcription",
        "audio": {"input": {"transcription": {"model": "whisper-1", "language": language}, **heard}},
    }


def test_the_sdk_is_told_turns_while_they_are_said(server: RealServer, jfk: Path) -> None:
    told = play("openai_realtime", server, jfk, how="ga", session=transcribing(turn_detection=PAUSE), texts=TURNS)

    check_items(told)
    assert [one["type"] for one in told[:2]] == ["session.created", "session.updated"]
    assert len(of_type(told, "input_audio_buffer.speech_started")) == TURNS
    assert len(of_type(told, "input_audio_buffer.speech_stopped")) == TURNS
    assert word_error_rate(JFK, text_of(told)) <= 0.15
    first_delta, last_text = of_type(told, DELTA)[0], of_type(told, COMPLETED)[-1]
    assert first_delta["at"] < last_text["at"] - 2.0, "what was said was told only when it was over"


@pytest.mark.parametrize("how", ["ga", "beta", "secret"])
def test_the_sdk_commits_by_itself(server: RealServer, jfk: Path, how: str) -> None:
    session = transcribing(turn_detection=None)
    if how == "beta":
        transcription = {"model": "whisper-1", "language": "en"}
        session = {"input_audio_transcription": transcription, "turn_detection": None}
    told = play("openai_realtime", server, jfk, how=how, session=session, pace=3, commit=True, texts=1)

    check_items(told)
    assert word_error_rate(JFK, text_of(told)) <= 0.15
    assert of_type(told, DELTA)[0]["at"] < of_type(told, "played")[0]["at"], "no text came while it was said"
    item = "conversation.item.created" if how == "beta" else "conversation.item.done"
    assert len(of_type(told, item)) == 1


def test_a_commit_of_silence_is_an_item_without_words(server: RealServer, quiet: Path) -> None:
    session = transcribing(turn_detection=None)
    told = play("openai_realtime", server, quiet, how="ga", session=session, pace=9, commit=True, texts=1)

    check_items(told)
    assert text_of(told) == ""


def test_a_commit_where_nobody_speaks_is_an_error_that_clients_know(server: RealServer, quiet: Path) -> None:
    session = transcribing(turn_detection=PAUSE)
    told = play("openai_realtime", server, quiet, how="ga", session=session, pace=9, commit=True, texts=1)

    (error,) = of_type(told, "error")
    assert error["error"]["code"] == "input_audio_buffer_commit_empty"


def test_the_sdk_raises_for_a_wrong_key_and_has_the_reason(server: RealServer, quiet: Path) -> None:
    told = play("openai_realtime", server, quiet, how="ga", session=None, key="wrong", texts=1)

    (refused,) = told
    assert refused["status"] == 401
    assert json.loads(refused["body"])["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("turns", [PAUSE, None], ids=["server_vad", "the default"])
def test_openai_agents_hears_to_the_end(server: RealServer, jfk: Path, turns: dict[str, Any] | None) -> None:
    settings = {"language": "en", "turn_detection": turns}
    told = play("openai_agents", server, jfk, model="gpt-4o-transcribe", settings=settings)

    assert {one["name"] for one in told} == {"turn", "played"}
    texts = [one["text"] for one in told if one["name"] == "turn"]
    assert word_error_rate(JFK, " ".join(texts)) <= 0.15
    assert told[0]["name"] == "turn", "the first turn was over before the recording was"


def test_openai_agents_gets_no_turn_of_silence_and_is_not_left_hanging(server: RealServer, quiet: Path) -> None:
    told = play("openai_agents", server, quiet, model="gpt-4o-transcribe", settings={"keywords": ["Kubernetes"]})

    assert [one["name"] for one in told] == ["played"]


def test_openai_agents_raises_what_cannot_be(server: RealServer, quiet: Path) -> None:
    told = play("openai_agents", server, quiet, model="gpt-4o-transcribe", settings={"language": "klingon"})

    assert told[-1]["name"] == "raised"
    assert told[-1]["at"] < 10


def test_livekit_hears_turns_and_what_is_said_meanwhile(server: RealServer, jfk: Path) -> None:
    options = {"model": "gpt-4o-transcribe", "language": "en", "turn_detection": PAUSE}
    told = play("livekit", server, jfk, finals=TURNS, options=options)

    names = [one["name"] for one in told]
    assert "raised" not in names
    finals = [one for one in told if one["name"] == "final_transcript"]
    assert word_error_rate(JFK, " ".join(one["text"] for one in finals)) <= 0.15
    assert {one["language"] for one in finals} == {"en"}
    assert names.count("start_of_speech") == names.count("end_of_speech") == TURNS
    assert names.index("interim_transcript") < names.index("final_transcript")


def test_livekit_raises_for_a_wrong_key(server: RealServer, quiet: Path) -> None:
    told = play("livekit", server, quiet, key="wrong", finals=1, options={"model": "gpt-4o-transcribe"})

    assert "401" in told[-1]["text"]


def test_who_speaks_is_told_in_segments(server: RealServer, phone_call: Path, jfk: Path) -> None:
    samples, rate = soundfile.read(phone_call / "sample.wav")
    sound = jfk.with_name("call.pcm")
    sound.write_bytes((soxr.resample(samples, rate, RATE) * 32767).astype("<i2").tobytes())
    session = transcribing(turn_detection=None)
    session["audio"]["input"]["transcription"]["model"] = "gpt-4o-transcribe-diarize"
    told = play("openai_realtime", server, sound, how="ga", session=session, pace=4, commit=True, texts=1)

    check_items(told)
    segments = of_type(told, SEGMENT)
    assert {one["speaker"] for one in segments} == {"A", "B"}
    assert " ".join(one["text"] for one in segments) == text_of(told)
    assert all(0 <= one["start"] <= one["end"] <= len(samples) / rate + 0.5 for one in segments)


def send(connection: ClientConnection, kind: str, **fields: Any) -> None:
    connection.send(json.dumps({"type": kind, **fields}))


def append(connection: ClientConnection, sound: bytes) -> None:
    send(connection, "input_audio_buffer.append", audio=base64.b64encode(sound).decode())


def connected(server: RealServer) -> ClientConnection:
    url = server.base.replace("http", "ws", 1) + "/v1/realtime?intent=transcription"
    return connect(url, additional_headers={"authorization": f"Bearer {KEY}"})


def told_until(connection: ClientConnection, kind: str, count: int = 1) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    while len(of_type(told, kind)) < count:
        told.append(json.loads(connection.recv(60)))
    return told


def test_broken_messages_do_no_harm_to_what_is_heard(server: RealServer, jfk: Path) -> None:
    sound = jfk.read_bytes()
    pieces = [sound[first : first + RATE] for first in range(0, len(sound), RATE)]
    with connected(server) as connection:
        send(connection, "session.update", session=transcribing(turn_detection=None))
        for piece in pieces:
            send(connection, "input_audio_buffer.append", audio="*")
            append(connection, piece)
        send(connection, "input_audio_buffer.commit")
        told = told_until(connection, COMPLETED)

    assert word_error_rate(JFK, text_of(told)) <= 0.15
    assert len(of_type(told, "error")) == len(pieces)


def test_nothing_is_lost_when_everything_about_a_session_changes(server: RealServer, jfk: Path) -> None:
    """Each part ends in a pause: the first with turns, the second at another rate, the rest with the client's commits,
    which does not come: turns are told again instead."""
    samples = np.frombuffer(jfk.read_bytes(), "<i2")
    first, second, third = np.split(samples, [int(2.6 * RATE), int(4.8 * RATE)])
    wideband = soxr.resample(second.astype(np.float32), RATE, 16_000).astype("<i2")
    with connected(server) as connection:
        send(connection, "session.update", session=transcribing(turn_detection=PAUSE))
        append(connection, first.tobytes())
        wide = {"type": "audio/pcm", "rate": 16_000}
        send(connection, "session.update", session=transcribing(format=wide))
        append(connection, wideband.tobytes())
        send(connection, "session.update", session=transcribing(format=None, turn_detection=None))
        append(connection, third.tobytes())
        send(connection, "session.update", session=transcribing(turn_detection=PAUSE))
        told = told_until(connection, "session.updated", 4)

    check_items(told)
    assert len(of_type(told, COMPLETED)) == TURNS
    assert word_error_rate(JFK, text_of(told)) <= 0.2
    starts = [one["audio_start_ms"] for one in of_type(told, "input_audio_buffer.speech_started")]
    assert starts[0] < 1000
    assert 2600 <= starts[1] < 4000, "times go on from one stream to the next"
