"""The command line as a user runs it: what it prints, what it advises, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import wave
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted_server import Json, Script, serving

ROOT = Path(__file__).resolve().parents[2]


def nls(name: str, payload: Json | None = None) -> Json:
    return {"header": {"name": name, "status": 20000000, "task_id": "t"}, "payload": payload or {}}


def hello(message: Json | bytes) -> Sequence[Json]:
    """A server that hears "Hello." in everything."""
    if isinstance(message, bytes):
        return [nls("TranscriptionResultChanged", {"index": 1, "time": 100, "result": "Hel"})]
    if message["header"]["name"] == "StartTranscription":
        return [nls("TranscriptionStarted")]
    return [
        nls("SentenceEnd", {"index": 1, "time": 500, "begin_time": 100, "result": "Hello."}),
        nls("TranscriptionCompleted"),
    ]


@contextlib.contextmanager
def server(script: Script) -> Iterator[str]:
    """Its address; it runs in a thread."""
    ready, address = threading.Event(), [""]
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        async with serving(script) as address[0]:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.zeros(8_000, "<i2").tobytes())
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / "tools" / "stream.py"), *map(str, arguments)]


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "STREAM_TOKEN"}
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=60, check=False, env=clean | environment, cwd="/"
    )


def test_sentences_and_figures_are_printed(wav: Path) -> None:
    with server(Script(hello)) as url:
        done = run(wav, "--url", url)

    assert done.returncode == 0, done.stderr
    first, _, count, *figures = done.stdout.splitlines()
    assert first == "0:00.1  Hello."
    assert count.startswith("1 stream heard, 0 failed; 1 sentence in 0.5 s of sound")
    assert [line.split("  ")[0] for line in figures[1:]] == [
        "first text after the sentence's beginning",
        "final text after the sentence's end",
        "last text after the stream's end",
        "sound sent late by",
    ]


def test_it_runs_as_a_module_too(wav: Path) -> None:
    with server(Script(hello)) as url:
        arguments = [sys.executable, "-m", "tools.stream", str(wav), "--url", url, "--pace", "0"]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)

    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "0:00.1  Hello.")


def test_fewer_files_than_streams_are_repeated_at_the_same_time(wav: Path) -> None:
    script = Script(hello)
    with server(script) as url:
        done = run(wav, "--url", url, "--concurrency", 3, "--json")

    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(one["file"] for one in said if one["event"] == "begun") == ["a.wav", "a.wav #2", "a.wav #3"]
    first_end = next(place for place, one in enumerate(said) if one["event"] == "finished")
    assert sum(one["event"] == "begun" for one in said[:first_end]) == 3
    assert said[-1] | {"event": "summary", "heard": 3, "failed": 0, "sentences": 3} == said[-1]


def test_a_key_comes_from_the_environment_or_the_command_line(wav: Path) -> None:
    script = Script(hello)
    with server(script) as url:
        run(wav, "--url", url, "--pace", 0, STREAM_TOKEN="from the environment")
        run(wav, "--url", url, "--pace", 0, "--token", "given", STREAM_TOKEN="from the environment")

    assert [one["x-nls-token"] for one in script.headers] == ["from the environment", "given"]


def test_one_bad_file_does_not_keep_the_others_from_being_heard(wav: Path) -> None:
    bad = wav.with_name("bad.wav")
    bad.write_bytes(b"nothing")
    with server(Script(hello)) as url:
        done = run(bad, wav, "--url", url, "--pace", 0)

    assert done.returncode == 1
    assert "a.wav  0:00.1  Hello." in done.stdout
    assert done.stderr.startswith("bad.wav: failed (unreadable): no sound can be read from it")


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        ([], "Start the server (make run), or say where it is with --url."),
        (["--protocol", "wyoming"], "with WYOMING_PORT set"),
    ],
)
def test_no_server_is_told_with_what_to_do(wav: Path, arguments: list[str], advice: str) -> None:
    done = run(wav, wav, "--url", "127.0.0.1:1", "--loop", *arguments)

    assert done.returncode == 1
    assert done.stderr.count("nothing answers at") == 1, "the other file is not tried"
    assert advice in done.stderr


def test_a_wrong_key_is_told_with_what_to_do(wav: Path) -> None:
    with server(Script(hello, refuse=HTTPStatus.UNAUTHORIZED)) as url:
        done = run(wav, "--url", url, "--token", "secret")

    assert done.returncode == 1
    assert "--token" in done.stderr
    assert "secret" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing.wav"], "nothing.wav: there is no such file"),
        (["WAV", "--protocol", "vllm", "--silence", "500"], "no way to say: silence"),
        (["WAV", "--pace", "-1"], "--pace"),
        (["WAV", "--concurrency", "0"], "--concurrency"),
        (["WAV", "--silence", "fast"], "--silence"),
        (["WAV", "--protocol", "telnet"], "invalid choice"),
        ([], "FILE"),
    ],
)
def test_wrong_usage_is_told_at_once(wav: Path, arguments: list[str], told: str) -> None:
    done = run(*(str(wav) if argument == "WAV" else argument for argument in arguments))

    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_a_loop_with_the_figures_so_far(wav: Path) -> None:
    script = Script(hello)
    with server(script) as url:
        process: Any = subprocess.Popen(
            command(wav, "--url", url, "--loop"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        heard = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)

    assert heard == ["0:00.1  Hello.\n"] * 2
    assert process.returncode == 130
    assert "streams heard, 0 failed" in rest or "stream heard, 0 failed" in rest
    assert errors == ""


def test_nobody_who_reads_the_rest_is_no_disaster(wav: Path) -> None:
    with server(Script(hello)) as url:
        process: Any = subprocess.Popen(
            command(wav, "--url", url, "--loop"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()

    assert process.wait(20) == 1
    assert errors == ""


@pytest.mark.parametrize("url", ["http://host:port", "http://", "ftp://127.0.0.1:1/"])
@pytest.mark.parametrize("protocol", ["aliyun", "wyoming"])
def test_an_address_that_is_none_is_told(wav: Path, url: str, protocol: str) -> None:
    done = run(wav, "--url", url, "--protocol", protocol)

    assert done.returncode == 1
    assert "unreachable" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminal_sees_texts_while_they_change(wav: Path) -> None:
    with server(Script(hello)) as url:
        master, terminal = pty.openpty()
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
        process = subprocess.Popen(command(wav, "--url", url), stdout=terminal, stderr=terminal, env=environment)
        os.close(terminal)
        seen = b""
        with contextlib.suppress(OSError):  # how a terminal says that nobody writes to it any more
            while data := os.read(master, 65536):
                seen += data
        os.close(master)
        assert process.wait(20) == 0

    text = seen.decode()
    assert "Hel\x1b[0m" in text, "a text that was not final, in the row of its stream"
    assert text.index("Hel\x1b[0m") < text.index("0:00.1  Hello.") < text.index("last text after")
