"""Alibaba Cloud's own SDKs against the real server and a real model: what they tell their users."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av
import httpx
import jiwer
import pytest
import soundfile
from environments import interpreter
from real.scoring import plain, read_wav, wav_bytes
from real.server import RealServer, start_server

SCRIPT = Path(__file__).with_name("nls_live.py")
JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
JFK_SECONDS = 11.0


@dataclass(frozen=True)
class Told:
    """A callback: what it is called, when it came (seconds since the task's first sound), and what it was given."""

    name: str
    at: float
    message: dict[str, Any]

    @property
    def payload(self) -> dict[str, Any]:
        return self.message["payload"]

    @property
    def header(self) -> dict[str, Any]:
        return self.message["header"]


def play(server: RealServer, file: Path, *, path: str = "/ws/v1", **wish: Any) -> list[Told]:
    """All callbacks of an SDK that plays a recording."""
    url = server.base.replace("http", "ws", 1) + path
    given = {"url": url, "token": "any", "file": str(file), "raw": False, "pace": 1, "chunk": 3200, "tasks": 1}
    given |= {"start": {}, **wish}
    done = subprocess.run(
        [interpreter("nls"), "-W", "ignore", SCRIPT, json.dumps(given)],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=file.parent,  # one of them leaves a log where it runs
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [Told(**json.loads(line)) for line in done.stdout.splitlines()]


def named(told: list[Told], name: str) -> list[Told]:
    return [one for one in told if one.name == name]


def check_sentences(told: list[Told]) -> None:
    """Each sentence begins and ends once, in order, and its texts come in between."""
    index, is_open = 0, False
    for one in told:
        if one.name == "sentence_begin":
            assert not is_open
            index, is_open = index + 1, True
        elif one.name in {"result_changed", "sentence_end"}:
            assert is_open
            is_open = one.name != "sentence_end"
        else:
            continue
        assert one.payload["index"] == index
        assert type(one.payload["time"]) is int
    assert index
    assert not is_open


def as_it_is(wav: Path, file: Path) -> Path:
    file.write_bytes(wav.read_bytes())
    return file


def encoded(codec: str, container: str, wav: Path, file: Path) -> Path:
    """As FFmpeg writes it."""
    with av.open(str(wav)) as source, av.open(str(file), "w", format=container) as target:
        stream = target.add_stream(codec, rate=16_000, layout="mono", bit_rate=28_000)  # the SDK's for Opus
        resampler = av.AudioResampler(
            format=stream.codec_context.format, layout="mono", rate=16_000, frame_size=stream.frame_size
        )
        frames = (part for frame in (*source.decode(audio=0), None) for part in resampler.resample(frame))
        for frame in (*frames, None):
            target.mux(stream.encode(frame))
    return file


def opu(wav: Path, file: Path) -> Path:
    """Opus packets, each after a byte that says how long it is: what Alibaba Cloud's SDK for C++ sends."""
    with av.open(str(encoded("libopus", "ogg", wav, file.with_suffix(".ogg")))) as source:
        packets = [bytes(packet) for packet in source.demux(audio=0) if packet.size]
    file.write_bytes(b"".join(bytes([len(packet)]) + packet for packet in packets))
    return file


FORMATS: dict[str, Callable[[Path, Path], Path]] = {
    "wav": as_it_is,
    "mp3": partial(encoded, "libmp3lame", "mp3"),
    "aac": partial(encoded, "aac", "adts"),
    "opus": partial(encoded, "libopus", "ogg"),
    "opu": opu,
}


def text_of(told: list[Told]) -> str:
    return " ".join(one.payload["result"] for one in named(told, "sentence_end"))


def assert_heard(reference: str, text: str) -> None:
    assert jiwer.wer(plain(reference), plain(text)) <= 0.15, text


@pytest.fixture(scope="session")
def jfk(shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples, rate = soundfile.read(shared_audio / "en_jfk.flac", dtype="int16")
    if rate != 16_000 or samples.ndim > 1:
        import soxr  # noqa: PLC0415

        mono = samples.mean(axis=1) if samples.ndim > 1 else samples
        samples = soxr.resample(mono / 32768.0, rate, 16_000) * 32767
    path = tmp_path_factory.mktemp("nls") / "jfk.wav"
    path.write_bytes(wav_bytes(samples))
    assert abs(len(read_wav(path)) / 16_000 - JFK_SECONDS) < 0.1
    return path


def play_until_guessed(server: RealServer, file: Path, **wish: Any) -> list[Told]:
    """What is told if it is played slowly enough for texts before the end: a busy machine leaves guesses out first."""
    for pace in (1.0, 0.5, 0.25):
        told = play(server, file, pace=pace, **wish)
        if named(told, "result_changed"):
            return told
    raise AssertionError("no text came while it was spoken")


def test_a_transcriber_tells_what_is_said_while_it_is_said(real_server: RealServer, jfk: Path) -> None:
    told = play_until_guessed(
        real_server,
        jfk,
        client="transcriber",
        start={
            "enable_intermediate_result": True,
            "enable_punctuation_prediction": True,
            "ex": {"enable_words": True, "max_sentence_silence": 500, "language": "en"},
        },
    )
    assert [told[0].name, told[-1].name] == ["start", "completed"]
    check_sentences(told)
    finals = named(told, "sentence_end")
    (first, *_) = named(told, "result_changed")
    (its_end,) = [final for final in finals if final.payload["index"] == first.payload["index"]]
    assert first.at < its_end.at
    assert first.payload["result"] != ""
    assert len(finals) > 1, "a pause of more than half a second ends a sentence"
    assert_heard(JFK, text_of(told))
    for final in finals:
        times = [time for word in final.payload["words"] for time in (word["startTime"], word["endTime"])]
        assert times
        assert times == sorted(times)
        assert final.payload["begin_time"] - 300 <= times[0]
        assert times[-1] <= final.payload["time"] + 300
        said = " ".join(word["text"] for word in final.payload["words"])
        assert jiwer.wer(plain(final.payload["result"]), plain(said)) == 0


def test_without_a_word_about_it_texts_are_final_and_plain_as_in_the_cloud(real_server: RealServer, jfk: Path) -> None:
    told = play(real_server, jfk, client="transcriber", pace=0, start={"ex": {"language": "en"}})
    check_sentences(told)
    assert not named(told, "result_changed")
    assert_heard(JFK, text_of(told))
    assert not set(text_of(told)) & set(",.?!")


def test_a_recognizer_gives_one_text(real_server: RealServer, jfk: Path) -> None:
    told = play(
        real_server,
        jfk,
        client="recognizer",
        pace=0,
        start={"enable_intermediate_result": True, "ex": {"language": "en"}},
    )
    assert told[0].name == "start"
    (completed,) = named(told, "completed")
    assert_heard(JFK, completed.payload["result"])
    assert abs(completed.payload["duration"] - JFK_SECONDS * 1000) <= 100


def test_a_recognizer_that_may_end_itself_does_so_at_the_first_pause(real_server: RealServer, jfk: Path) -> None:
    told = play(
        real_server,
        jfk,
        client="recognizer",
        start={"ex": {"language": "en", "enable_voice_detection": True, "max_end_silence": 400}},
    )
    assert told[-1].name == "completed"
    assert told[-1].at < JFK_SECONDS
    assert plain(told[-1].payload["result"]).startswith("and so my fellow")
    assert "do for your country" not in told[-1].payload["result"]


@pytest.mark.parametrize("name", ["wav", "mp3", "aac", "opus", "opu"])
def test_formats_of_the_sdk_are_heard(real_server: RealServer, jfk: Path, tmp_path: Path, name: str) -> None:
    file = FORMATS[name](jfk, tmp_path / f"jfk.{name}")
    told = play(
        real_server,
        file,
        client="transcriber",
        raw=True,
        pace=0.2 if name == "opus" else 0,  # some seconds: as long as a decoder that is looked after may live
        start={"aformat": name, "ex": {"language": "en"}},
    )
    check_sentences(told)
    assert_heard(JFK, text_of(told))


def test_one_object_does_one_task_after_another(real_server: RealServer, jfk: Path) -> None:
    told = play(real_server, jfk, client="transcriber", pace=0, tasks=2, start={"ex": {"language": "en"}})
    first = next(number for number, one in enumerate(told) if one.name == "completed") + 1
    for task in (told[:first], told[first:]):
        assert [task[0].name, task[-1].name] == ["start", "completed"]
        assert_heard(JFK, text_of(task))
    assert told[0].header["task_id"] != told[first].header["task_id"]


def test_the_older_sdk_gets_its_pongs_in_time(real_server: RealServer, jfk: Path) -> None:
    """It pings every five seconds, and gives up where no pong comes within three. On funasr-api's path texts that may
    still change come without being asked for."""
    told = play_until_guessed(real_server, jfk, client="ali_speech", path="/ws/v1/asr", start={"language": "en"})
    assert [one.message for one in named(told, "returned")] == [{"start": 0}, {"stop": 0}]
    check_sentences(told)
    assert_heard(JFK, text_of(told))


def test_a_wrong_token_is_told_as_an_error_and_in_no_log(models_dir: Path, tmp_path: Path, jfk: Path) -> None:
    server = start_server(models_dir, tmp_path, API_KEYS="the-right-token", LOG_LEVEL="DEBUG")
    try:
        wait_until_listening(server)
        for client, error in (("transcriber", "error"), ("recognizer", "error"), ("ali_speech", "task_failed")):
            told = play(server, jfk, client=client, pace=0, token="a-wrong-token")
            assert named(told, error)[0].header["status"] == 40000001, client
            assert "completed" not in [one.name for one in told]
        server.stop(signal.SIGINT)
    finally:
        server.process.kill()
        server.process.wait()
    log = server.log.read_text()
    assert "uvicorn" in log
    assert "token" not in log


def wait_until_listening(server: RealServer, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{server.base}/health/live")
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the server does not listen")
