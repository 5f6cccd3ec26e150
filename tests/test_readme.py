"""README.md's commands, run as they stand there, in a fresh copy of this checkout.

One substitution is made: http://127.0.0.1:8000 becomes the port that the test found free. The first start is a
stranger's: no .venv, no models, no caches, a network (or a pip that reaches an index).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from app.main import create_app
from app.protocols.openai.wishes import KNOWN_FIELDS
from app.settings import Settings

ROOT = Path(__file__).parents[1]
ADDRESS = "http://127.0.0.1:8000"
FIRST_START_SECONDS = 180.0
SECOND_START_SECONDS = 30.0
"""Five are promised; machines that run tests are noisy."""
COMMAND_SECONDS = 120.0
STOP_SECONDS = 30.0


def blocks(language: str, source: str = "README.md") -> list[str]:
    """The fenced blocks of one language, in order, as they stand there."""
    text = (ROOT / source).read_text("utf-8")
    return [block.strip("\n") for block in re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)]


CURLS = [block for block in blocks("bash") if block.startswith("curl ")]
WITH_KEY = [block for block in CURLS if "Authorization" in block]
STARTS = [block for block in blocks("bash") if "make run" in block]


def section(title: str, source: str = "README.md") -> str:
    """What stands under a heading of the second level."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## )", (ROOT / source).read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


# --- what can be checked without a server -----------------------------------------------------------------------------


def test_the_two_commands() -> None:
    commands = re.findall(r"^```bash\n(.*?)\n```$", section("Two commands"), re.DOTALL | re.MULTILINE)
    assert commands == ["make run", "make test", "pip install -r requirements.txt && python start.py"]
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {name for block in blocks("bash") for name in re.findall(r"make ([a-z]+)", block)}
    assert {"run", "test", "sample"} <= named <= targets
    assert (ROOT / "requirements.txt").is_file()
    assert (ROOT / "start.py").is_file()


def test_both_languages_show_the_same_commands() -> None:
    def without_comments(block: str) -> str:
        return re.sub(r" *#.*", "", block)

    for language in ("bash", "python"):
        ours, theirs = blocks(language), blocks(language, "README_zh.md")
        assert [without_comments(block) for block in ours] == [without_comments(block) for block in theirs]


@pytest.mark.parametrize("source", ["README.md", "README_zh.md"])
def test_every_route_and_field_is_named(source: str) -> None:
    text = (ROOT / source).read_text("utf-8")
    for path in create_app(Settings(_env_file=None)).openapi()["paths"]:
        assert f"`{path.replace(':path', '')}`" in text, path
    for field in KNOWN_FIELDS:
        assert re.search(rf"^\|.*`{field}(\[\])?`.* \|", text, re.MULTILINE), field


@pytest.mark.parametrize("source", ["README.md", "README_zh.md"])
def test_links_lead_somewhere(source: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / source).read_text("utf-8")):
        assert target.startswith("https://") or (ROOT / target).exists(), target


# --- a stranger's first hour ------------------------------------------------------------------------------------------


def fresh_copy(target: Path) -> None:
    """What a clone of this checkout would hold, and what would be added to it next."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=60,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        source = ROOT / name
        if source.is_file():  # a tracked file may have been deleted
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    assert not list(target.glob(".venv*"))
    assert {path.name for path in (target / "models").iterdir()} <= {"README.md"}


def environment(home: Path, port: int) -> dict[str, str]:
    """This machine's, less anybody's settings, caches and virtual environment."""
    foreign = {name.upper() for name in Settings.model_fields} | {"VIRTUAL_ENV", "PYTHONPATH", "MAKEFLAGS", "MAKELEVEL"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.upper() not in foreign and not name.upper().startswith(("ASR_", "COV_", "OPENAI_", "PYTEST_"))
    }
    local = ",".join(filter(None, ("127.0.0.1", os.environ.get("NO_PROXY") or os.environ.get("no_proxy"))))
    nowhere = {"MODELSCOPE_PATH": str(home / "no-modelscope"), "HF_HOME": str(home / "no-huggingface")}
    # Where a hub can be reached, another model would be fetched and answer: hundreds of megabytes, and other words.
    same = {"MODEL_MIRRORS": "wheel"}
    return kept | nowhere | same | {"PORT": str(port), "HOST": "127.0.0.1", "NO_PROXY": local, "no_proxy": local}


@dataclass
class Stranger:
    """A folder with a fresh copy, and what somebody types there."""

    folder: Path
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder.parent / "server.log"

    def verbatim(self, text: str) -> str:
        """The text as it stands in the README, but for the port."""
        return text.replace(ADDRESS, self.address).replace(
            ADDRESS.replace("http", "ws"), self.address.replace("http", "ws")
        )

    def shell(self, command: str) -> str:
        """What a command prints; it must succeed."""
        result = subprocess.run(
            ["bash", "-c", self.verbatim(command)],
            cwd=self.folder,
            env=environment(self.folder.parent, self.port),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert result.returncode == 0, (command, result.stdout, result.stderr)
        return result.stdout

    def python(self, script: str) -> str:
        """What a Python example prints, run where the openai package is."""
        result = subprocess.run(
            [sys.executable, "-c", self.verbatim(script)],
            cwd=self.folder,
            env=environment(self.folder.parent, self.port),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert result.returncode == 0, (script, result.stderr)
        return result.stdout

    @contextmanager
    def serving(self, command: str, patience: float) -> Iterator[float]:
        """A server started by `command`, ready after the seconds given to the block, ended by Ctrl-C after it."""
        started = time.monotonic()
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                ["bash", "-c", self.verbatim(command)],
                cwd=self.folder,
                env=environment(self.folder.parent, self.port),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C goes to the whole group, as from a terminal, and not to pytest's
            )
        try:
            yield self._wait(process, started, patience)
            os.killpg(process.pid, signal.SIGINT)
            process.wait(STOP_SECONDS)
            said = self.log.read_text("utf-8", errors="replace")
            assert "Application shutdown complete" in said
            assert "Traceback" not in said
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{self.address}/health/live", trust_env=False)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _wait(self, process: subprocess.Popen[bytes], started: float, patience: float) -> float:
        while (waited := time.monotonic() - started) < patience:
            try:
                if httpx.get(f"{self.address}/health/ready", trust_env=False, timeout=5).status_code == 200:
                    return time.monotonic() - started
            except httpx.TransportError:
                pass
            if process.poll() is not None:
                break
            time.sleep(0.05)
        pytest.fail(f"not ready after {waited:.1f} s:\n{self.log.read_text('utf-8', errors='replace')[-4000:]}")


def check_json(answer: str) -> None:
    body = json.loads(answer)
    assert "New Jersey" in body["text"]
    assert body["usage"] == {"type": "duration", "seconds": 30}


def check_words(answer: str) -> None:
    body = json.loads(answer)
    assert body["language"] == "english"
    assert len(body["words"]) > 40
    assert all(0 <= word["start"] <= word["end"] <= 30.1 for word in body["words"])
    assert body["segments"]


def check_subtitles(answer: str) -> None:
    assert answer.startswith("1\n00:00:0")
    assert " --> " in answer


def check_events(answer: str) -> None:
    assert answer.rstrip().endswith("data: [DONE]")
    assert '"transcript.text.delta"' in answer
    assert '"transcript.text.done"' in answer


def check_text(answer: str) -> None:
    assert "New Jersey" in answer
    assert not answer.startswith("{")


def check_speakers(answer: str) -> None:
    assert {segment["speaker"] for segment in json.loads(answer)["segments"]} == {"A", "B"}


def check_job(answer: str) -> None:
    body = json.loads(answer)
    assert body["object"] == "job"
    assert body["state"] == "queued"


CHECKS: dict[str, Callable[[str], None]] = {
    "response_format=json": check_json,
    "response_format=srt": check_subtitles,
    "response_format=diarized_json": check_speakers,
    "response_format=verbose_json": check_words,
    "stream=true": check_events,
    "response_format=text": check_text,
    "/v1/jobs": check_job,
}


def check(command: str) -> Callable[[str], None]:
    """What the answer to a curl example must be."""
    return next(promise for part, promise in CHECKS.items() if part in command)


def try_everything(stranger: Stranger) -> None:
    """Every example that an open server answers."""
    assert "samples/phone_call.wav" in stranger.shell("make sample")
    assert (stranger.folder / "samples" / "phone_call.wav").stat().st_size > 900_000
    tried = {command: stranger.shell(command) for command in CURLS if command not in WITH_KEY}
    assert len(tried) >= 5
    for command, answer in tried.items():
        check(command)(answer)
    words, streamed, live = (stranger.python(script) for script in blocks("python"))
    assert "New Jersey" in words
    assert re.search(r"^ +\d+\.\d\d - +\d+\.\d\d  Jersey$", words, re.MULTILINE)
    assert "New Jersey" in streamed
    assert re.search(r"^SentenceEnd .*New Jersey", live, re.MULTILINE)
    assert live.index("TranscriptionResultChanged") < live.index("SentenceEnd")
    others = [block for block in blocks("bash") if block.startswith(".venv/bin/python start.py")]
    assert len(others) >= 2
    for command in others:
        assert stranger.shell(command)


def try_with_key(stranger: Stranger) -> None:
    """The example with a key, which is needed now."""
    assert httpx.get(f"{stranger.address}/v1/models", trust_env=False).status_code == 401
    (command,) = WITH_KEY
    check(command)(stranger.shell(command))


@pytest.mark.timeout(600)
def test_a_strangers_first_hour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    stranger = Stranger(tmp_path / "copy", port)
    fresh_copy(stranger.folder)
    first, with_key = STARTS

    with stranger.serving(first, FIRST_START_SECONDS) as seconds:
        report(capsys, f"make run, first start, from nothing to ready: {seconds:.1f} s")
        packages = {path.name.lower() for path in stranger.folder.glob(".venv/lib/python*/site-packages/*")}
        assert "fastapi" in packages
        assert not {name for name in packages if name.split("-")[0] in {"torch", "torchaudio", "funasr"}}
        try_everything(stranger)

    with stranger.serving(first, SECOND_START_SECONDS) as seconds:
        report(capsys, f"make run, second start, to ready: {seconds:.1f} s")

    with stranger.serving(with_key, SECOND_START_SECONDS):
        try_with_key(stranger)


def report(capsys: pytest.CaptureFixture[str], line: str) -> None:
    """Show a measurement even where the test passes."""
    with capsys.disabled():
        print(f"\n{line}")
