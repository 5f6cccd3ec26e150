"""`start.py transcribe` as somebody types it: its complaints, and real recordings to text."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from real.server import ROOT

from app.cli.main import main
from app.settings import Settings

PATIENCE = 240.0
"""Seconds; machines that run tests are busy."""
MAIFEI, JFK = "zh_aishell_mid.wav", "en_jfk.flac"
Transcribe = Callable[..., subprocess.CompletedProcess[str]]


# --- what is wrong is told before anything is loaded --------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nothing.wav",), "nothing.wav: there is no such file"),
        (("talk.wav", "--format", "docx"), "--format docx: it is none of txt, spk, srt, vtt, json"),
        (("talk.wav", "--format", "txt,srt"), "several formats: files are written with --output DIR only"),
        (("talk.wav", "--force"), "--force: files are written with --output DIR only"),
        (("talk.wav", "--speakers"), "txt has no place for speakers"),
        (("talk.wav", "--no-speakers", "--format", "spk"), "--no-speakers contradicts --format spk"),
        (("talk.wav", "--hotwords", "words.txt"), "words.txt, line 2: a weight is not a positive number"),
        (("talk.wav", "--sensitive-style", "stars"), "--sensitive-style goes with --sensitive FILE"),
        (("talk.wav", "--sensitive", "nothing.txt"), "nothing.txt cannot be read"),
        (("talk.wav", "--prompt", "x" * 10_001), "--prompt has more than 10000 characters"),
        (("talk.wav", "./talk.wav", "--output", "out"), "would both be written to out/talk.*"),
        (("",), "A recording's name is empty"),
        (("x" * 300,), "File name too long"),
        (("http://[x/a.wav",), "address cannot be read"),
        (("nul.scp", "--output", "out"), "cannot be the name of a file"),
        (("same.scp", "./same.scp"), "Two lists have a recording called one"),
        (("talk.wav", "--output", "talk.wav/out"), "--output talk.wav/out: Not a directory"),
        (("talk.wav", "--output", "x" * 300), "File name too long"),
        (("wav.scp",), "wav.scp, line 1: it is a command, and commands of a list are not run"),
        (("talk.wav", "--model", "nonsense"), "nonsense"),
    ],
)
def test_what_makes_no_sense(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "talk.wav").write_bytes(b"sound")
    (tmp_path / "words.txt").write_text("good 3\nbad -3\n")
    (tmp_path / "wav.scp").write_text("one sox talk.wav - |\n")
    (tmp_path / "nul.scp").write_text("a\0b talk.wav\n")
    (tmp_path / "same.scp").write_text("one talk.wav\n")
    before = sorted(tmp_path.iterdir())
    assert main(["transcribe", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("error: ")) == ("", 1)
    assert told in err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("arguments", [(), ("a.wav", "--concurrency", "0"), ("a.wav", "--sensitive-style", "loud")])
def test_what_it_does_not_know_is_a_matter_of_usage(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["transcribe", *arguments])
    assert left.value.code == 2
    assert "transcribe" in capsys.readouterr().err.splitlines()[0]


# --- real recordings, in a process of their own -------------------------------------------------------------------


def environment(models_dir: Path, temp: Path) -> dict[str, str]:
    names = {name.upper() for name in Settings.model_fields}
    clean = {name: value for name, value in os.environ.items() if name not in names and not name.startswith("ASR_")}
    temp.mkdir(exist_ok=True)
    return clean | {
        "MODELS_DIR": str(models_dir),
        "TEMP_DIR": str(temp),
        "DEVICE": "cpu",
        "ASR_MODEL": "whisper-base",
        "API_KEYS": "nobody-asks-for-it",
        "AUDIO_ADDRESS_NETWORKS": "127.0.0.1/32",
    }


@pytest.fixture
def transcribe(models_dir: Path, tmp_path: Path) -> Transcribe:
    """Runs it in a folder of the test's own; nothing may stay behind in TEMP_DIR."""
    temp = tmp_path / "temp"

    def run(*arguments: object, stdin: Path | None = None) -> subprocess.CompletedProcess[str]:
        with (stdin or Path(os.devnull)).open("rb") as source:
            result = subprocess.run(
                [sys.executable, str(ROOT / "start.py"), "transcribe", *map(str, arguments)],
                cwd=tmp_path,
                env=environment(models_dir, temp),
                stdin=source,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        assert "Traceback" not in result.stderr
        assert list(temp.iterdir()) == []
        return result

    return run


@pytest.fixture
def site(shared_audio: Path) -> Iterator[str]:
    """The address of a server that has the shared recordings."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(shared_audio))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_list_becomes_the_text_that_scoring_tools_take(
    transcribe: Transcribe, shared_audio: Path, site: str, tmp_path: Path
) -> None:
    entries = [
        f"zh {os.path.relpath(shared_audio / MAIFEI, tmp_path)}",
        "lost nothing.wav",
        f"long {'x' * 300}.wav",
        "null /dev/null",
        "text wav.scp",
        f"address {site}/{JFK}?signature=secret",
        f"gone {site}/nothing.wav",
    ]
    (tmp_path / "wav.scp").write_text("\n".join(entries), "utf-8")
    result = transcribe("wav.scp", "--concurrency", "3")
    assert result.returncode == 1
    first, second = result.stdout.splitlines()
    assert first.startswith("zh ")
    assert "大学生利用漏洞" in first
    assert second.startswith("address ")
    assert "ask not what your country" in second.lower()
    lines = result.stderr.splitlines()
    lost = ("lost", "long", "null", "text", "gone")
    assert [sum(line.startswith(f"failed: {name}: ") for line in lines) for name in lost] == [1] * 5
    assert "secret" not in result.stderr
    assert lines[-1].startswith("2 of 7 recordings, 0:16.0 of sound in ")
    assert lines[-1].endswith("; 5 failed")


def test_every_layout_into_a_folder_with_words_masked(
    transcribe: Transcribe, shared_audio: Path, tmp_path: Path
) -> None:
    (tmp_path / "words.txt").write_text("your country\n")
    (tmp_path / "hotwords.txt").write_text("fellow Americans 20\n")
    wishes = ("--sensitive", "words.txt", "--hotwords", "hotwords.txt", "--no-itn", "--language", "en")
    result = transcribe(shared_audio / JFK, "--format", "txt,spk,srt,vtt,json", "--output", "out", *wishes)
    assert (result.returncode, result.stdout) == (0, "")
    texts = {path.name: path.read_text("utf-8") for path in (tmp_path / "out").iterdir()}
    assert set(texts) == {f"en_jfk.{layout}" for layout in ("txt", "spk", "srt", "vtt", "json")}
    assert not [name for name, text in texts.items() if "your country" in text.lower()]
    assert "**** *******" in texts["en_jfk.txt"]
    assert all(line.startswith("Speaker 0: ") for line in texts["en_jfk.spk"].splitlines())
    assert "[Speaker1] " in texts["en_jfk.srt"]
    assert texts["en_jfk.vtt"].startswith("WEBVTT\n")
    body = json.loads(texts["en_jfk.json"])
    assert body["text"] == texts["en_jfk.txt"].strip()
    assert body["hotwords"][0]["text"] == "fellow Americans"
    assert {word["speaker"] for word in body["words"]} == {"Speaker1"}
    again = transcribe(shared_audio / JFK, "--output", "out")
    assert again.returncode == 2
    assert "--force replaces them" in again.stderr


def test_standard_input_in_silence(transcribe: Transcribe, shared_audio: Path) -> None:
    result = transcribe("-", "--quiet", "--no-punctuation", stdin=shared_audio / JFK)
    assert (result.returncode, result.stderr) == (0, "")
    assert "ask not what your country can do for you" in result.stdout.lower()
    assert not set(result.stdout) & set(".,!?")
    nothing = transcribe("-", "--quiet")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert nothing.stderr == "failed: stdin: There is nothing on standard input.\n"


def test_who_watches_may_leave_and_nothing_is_lost(models_dir: Path, shared_audio: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    result = subprocess.run(
        [sys.executable, str(ROOT / "start.py"), "transcribe", "broken.wav", str(shared_audio / JFK)],
        cwd=tmp_path,
        env=environment(models_dir, tmp_path / "temp"),
        stdout=subprocess.PIPE,
        stderr=writer,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    os.close(writer)
    assert result.returncode == 1, "what failed did, although nobody was told"
    assert "ask not what your country" in result.stdout.lower()


@pytest.mark.parametrize(
    ("redirected", "status", "told"),
    [
        (">/dev/full", 2, "error: Standard output cannot be written: No space left on device.\n"),
        ("| exec 0<&-", 1, ""),
        ("2>&-", 0, ""),
    ],
)
def test_texts_that_nobody_gets(
    models_dir: Path, shared_audio: Path, tmp_path: Path, redirected: str, status: int, told: str
) -> None:
    command = f'{{ "{sys.executable}" "{ROOT / "start.py"}" transcribe "$1" --quiet; echo $? >status; }} {redirected}'
    result = subprocess.run(
        ["sh", "-c", command, "sh", str(shared_audio / JFK)],
        cwd=tmp_path,
        env=environment(models_dir, tmp_path / "temp"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (int((tmp_path / "status").read_text()), result.stderr) == (status, told)
    assert ("ask not what your country" in result.stdout.lower()) == (status == 0)
    assert list((tmp_path / "temp").iterdir()) == []


def test_on_a_terminal_there_is_a_bar(models_dir: Path, shared_audio: Path, tmp_path: Path) -> None:
    terminal, ours = os.openpty()
    termios.tcsetwinsize(ours, (40, 120))
    running = subprocess.Popen(
        [sys.executable, str(ROOT / "start.py"), "transcribe", str(shared_audio / JFK)],
        cwd=tmp_path,
        env=environment(models_dir, tmp_path / "temp"),
        stdout=subprocess.PIPE,
        stderr=ours,
    )
    os.close(ours)
    watchdog = threading.Timer(PATIENCE, running.kill)
    watchdog.start()
    shown = b""
    try:
        with suppress(OSError):  # how a terminal says that the other side is closed
            while more := os.read(terminal, 65_536):
                shown += more
        out, _ = running.communicate()
    finally:
        running.kill()
        watchdog.cancel()
        os.close(terminal)
    assert running.returncode == 0
    assert b"ask not what your country" in out.lower()
    text = shown.decode()
    assert "0%|" in text
    assert "1/1, 0:11.0 of 0:11.0, " in text
    assert text.rstrip().splitlines()[-1].lstrip("\r ").startswith("1 of 1 recording, 0:11.0 of sound in ")


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_is_finished(
    models_dir: Path, shared_audio: Path, tmp_path: Path, kind: signal.Signals
) -> None:
    temp = tmp_path / "temp"
    meetings = sorted((shared_audio / "meetings").glob("*.wav"))
    recordings = [str(shared_audio / JFK), *map(str, meetings)]
    running = subprocess.Popen(
        [sys.executable, str(ROOT / "start.py"), "transcribe", *recordings, "--concurrency", "1"],
        cwd=tmp_path,
        env=environment(models_dir, temp),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(PATIENCE, running.kill)
    watchdog.start()
    try:
        assert running.stderr is not None
        assert any(line.startswith("1/") for line in running.stderr), "the first one is finished"
        running.send_signal(kind)
        out, err = running.communicate()
    finally:
        running.kill()
        watchdog.cancel()
    assert running.returncode == 130
    assert "ask not what your country" in out.lower()
    assert out.count("==> ") == 1
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("1 of 6 recordings, ")
    assert list(temp.iterdir()) == []
