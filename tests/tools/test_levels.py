"""The level analysis: measured of real speech, at loudness that is known, and asked of the command as a user does."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from audio.making import encode, pcm, tone, wav

from app.audio.nearfield import NearField
from app.domain.options import LiveOptions
from app.engines.fsmn_vad import FsmnVad
from app.modelstore.catalog import FSMN_VAD
from app.modelstore.store import ModelStore
from app.settings import Settings
from app.streaming.endpointing import Endpoint, Onset
from app.streaming.hearing import Ear
from tools.levels import main
from tools.loudness.figures import figures as measure
from tools.loudness.hearing import Heard, Listened
from tools.recordings import read

ROOT = Path(__file__).resolve().parents[2]
RATE = 16_000
LOUD, QUIET = 2.5, 0.12
"""What the call is multiplied by: voices at about -25 and -51 dBFS."""


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> FsmnVad:
    """Where the command finds it, too: in the repository's models folder."""
    nowhere = tmp_path_factory.mktemp("caches")
    store = ModelStore(Settings(models_dir=ROOT / "models", modelscope_path=nowhere, hf_home=nowhere))
    return FsmnVad(store.ensure(FSMN_VAD.id))


@pytest.fixture(scope="session")
def call(phone_call: Path) -> np.ndarray:
    """Two people talk; float64 in [-1, 1]. Before 6.7 s nobody does."""
    with wave.open(str(phone_call / "sample.wav")) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, detector: FsmnVad) -> None:
    """Nobody's settings but the models folder."""
    for name in ("ASR_NEARFIELD_RMS_THRESHOLD", "TEMP_DIR", "ASR_MODEL_DIR_FSMN_VAD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MODELS_DIR", str(ROOT / "models"))
    monkeypatch.chdir(tmp_path)


def measured(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> list[dict[str, Any]]:
    """What the command tells machines."""
    status = main([*map(str, arguments), "--json"])
    said = capsys.readouterr()
    assert status == 0, said.err
    return [json.loads(line) for line in said.out.splitlines()]


def written(path: Path, sound: np.ndarray, rate: int = RATE) -> Path:
    return wav(path, np.clip(sound, -1, 1 - 2**-15), rate)


def heard(detector: FsmnVad, sound: np.ndarray, threshold: float | None) -> np.ndarray:
    """Which 10 ms of it are in an utterance, as a live stream with this near-field filter has them."""
    ear = Ear(detector.open(), LiveOptions(), None if threshold is None else NearField(threshold))
    covered, begun = np.zeros(len(sound) // 160, np.bool_), 0.0
    samples = sound.astype(np.float32)
    for start in range(0, len(samples), 1600):
        for mark in ear.listen(samples[start : start + 1600], last=start + 1600 >= len(samples)):
            if isinstance(mark, Onset):
                begun = mark.start
            elif isinstance(mark, Endpoint):
                covered[round(begun * 100) : round(mark.end * 100)] = True
    return covered


def at(figures: dict[str, Any], threshold: float) -> dict[str, Any]:
    return next(one for one in figures["thresholds"] if one["threshold"] == threshold)


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 10 ** (-72 / 20), round(seconds * RATE))


def test_levels_are_those_of_the_sound(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (figures,) = measured(capsys, written(tmp_path / "hiss.wav", noise(3.0) * 10 ** (52 / 20)))
    assert figures["levels"]["rest"] == pytest.approx([-20.0] * 5, abs=0.5)
    assert figures["levels"]["speech"] == []
    assert figures["suggested"] is None
    assert "nobody speaks" in figures["reason"]


def test_silence_has_a_level_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (figures,) = measured(capsys, written(tmp_path / "nothing.wav", np.zeros(RATE)))
    assert figures["levels"]["rest"] == [-100.0] * 5
    assert figures["speech_seconds"] == 0


def test_speech_is_told_from_the_rest(capsys: pytest.CaptureFixture[str], phone_call: Path, call: np.ndarray) -> None:
    (figures,) = measured(capsys, phone_call / "sample.wav")
    assert figures["speech_by"] == "fsmn-vad"
    assert 18 < figures["speech_seconds"] < 23.3  # of 30 s, in 6.7 of which nobody speaks
    quiet = call[: 6 * RATE].reshape(-1, 1600)
    before = 10 * np.log10((quiet**2).mean(axis=1))
    assert figures["levels"]["rest"][2] == pytest.approx(float(np.median(before)), abs=1.5)
    assert figures["levels"]["speech"][2] > figures["levels"]["rest"][2] + 20
    assert figures["levels"]["speech"] == sorted(figures["levels"]["speech"])


def test_it_hears_what_a_live_stream_hears(
    capsys: pytest.CaptureFixture[str], phone_call: Path, call: np.ndarray, detector: FsmnVad
) -> None:
    (figures,) = measured(capsys, phone_call / "sample.wav", "--threshold", "0.025")
    assert figures["current"] == 0.025
    ignored = [at(figures, bound)["ignored"] for bound in (0.01, 0.025, 0.05)]
    assert ignored == sorted(ignored)
    assert ignored[0] < 0.05 < 0.9 < ignored[2]
    without = heard(detector, call, None)
    for bound, share in zip((0.01, 0.025, 0.05), ignored, strict=True):
        mine = 1 - heard(detector, call, bound)[without].mean()
        assert share == pytest.approx(mine, abs=0.08)  # pauses within utterances are not speech there


def test_near_and_far_voices_are_parted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, call: np.ndarray, detector: FsmnVad
) -> None:
    near, far = call[7 * RATE :] * LOUD, call[7 * RATE :] * QUIET
    sound = np.concatenate([noise(1), near, noise(3), far, noise(1)])
    (figures,) = measured(capsys, written(tmp_path / "table.wav", sound))
    loud, quiet = figures["voices"]["near"], figures["voices"]["far"]
    assert loud - quiet == pytest.approx(20 * math.log10(LOUD / QUIET), abs=2)
    suggested = figures["suggested"]
    assert quiet < 20 * math.log10(suggested) < loud

    without, with_it = heard(detector, sound, None), heard(detector, sound, suggested)
    middle = 100 + len(near) // 160 + 150
    assert with_it[:middle][without[:middle]].mean() > 0.9
    assert with_it[middle:][without[middle:]].mean() < 0.1
    tried = at(figures, suggested)
    assert tried["ignored_loud"] < 0.1 < 0.9 < tried["ignored_quiet"]


def test_other_people_are_parted_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, shared_audio: Path, detector: FsmnVad
) -> None:
    """A woman and a man who read, one of them far away, in a room with an air conditioner."""

    def voice(name: str, level: float) -> np.ndarray:
        sound = read(shared_audio / "speakers" / name) / 32768
        return sound * 10 ** (level / 20) / np.sqrt((sound**2).mean())

    near = voice("libri_1688-142285-0000.flac", -22)
    far = voice("libri_1998-15444-0000.flac", -46)
    sound = np.concatenate([near, np.zeros(3 * RATE), far, np.zeros(2 * RATE), near])
    sound += np.random.default_rng(2).normal(0, 10 ** (-66 / 20), len(sound))
    (figures,) = measured(capsys, written(tmp_path / "room.wav", sound))
    assert figures["suggested"] is not None
    without, with_it = heard(detector, sound, None), heard(detector, sound, figures["suggested"])
    first = len(near) // 160 + 150
    second = first + (len(far) + 3 * RATE) // 160
    assert with_it[:first][without[:first]].mean() > 0.9
    assert with_it[first:second][without[first:second]].mean() < 0.1
    assert with_it[second:][without[second:]].mean() > 0.9


def test_who_speaks_alone_is_heard_when_softer(
    capsys: pytest.CaptureFixture[str], phone_call: Path, call: np.ndarray, detector: FsmnVad
) -> None:
    (figures,) = measured(capsys, phone_call / "sample.wav")
    assert figures["voices"]["far"] is None
    suggested = figures["suggested"]
    assert figures["voices"]["near"] - 20 * math.log10(suggested) >= 10
    softer = call / 2
    without = heard(detector, softer, None)
    assert heard(detector, softer, suggested)[without].mean() > 0.95


def test_the_documents_example(capsys: pytest.CaptureFixture[str], phone_call: Path) -> None:
    page = (ROOT / "docs" / "nearfield_filter.md").read_text("utf-8")
    (figures,) = measured(capsys, phone_call / "sample.wav")
    shown = re.findall(r"^  (0\.\d+) +-\d+\.\d dBFS +(\d+\.\d)%", page, re.MULTILINE)
    assert len(shown) >= 5
    for bound, share in shown:
        assert at(figures, float(bound))["ignored"] * 100 == pytest.approx(float(share), abs=1)
    assert f"suggested: ASR_NEARFIELD_RMS_THRESHOLD={figures['suggested']:g} " in page


def test_a_voice_that_no_threshold_hears(capsys: pytest.CaptureFixture[str], tmp_path: Path, call: np.ndarray) -> None:
    (figures,) = measured(capsys, written(tmp_path / "faint.wav", call * 0.02))
    assert figures["suggested"] is None
    assert "do without the filter" in figures["reason"]


def test_without_the_model_the_level_tells_and_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, phone_call: Path, tmp_path: Path
) -> None:
    for name in ("MODELS_DIR", "MODELSCOPE_PATH", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    (figures,) = measured(capsys, phone_call / "sample.wav")
    assert figures["speech_by"] == "level"
    assert 18 < figures["speech_seconds"] < 24
    assert main([str(phone_call / "sample.wav")]) == 0
    assert "FSMN-VAD is not here" in capsys.readouterr().out


def test_a_model_folder_that_is_not_there_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, phone_call: Path
) -> None:
    monkeypatch.setenv("ASR_MODEL_DIR_FSMN_VAD", "/nowhere")
    assert main([str(phone_call / "sample.wav")]) == 2
    assert "fsmn-vad" in capsys.readouterr().err


def test_formats_and_samples_without_a_header(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, phone_call: Path, call: np.ndarray
) -> None:
    whole = measured(capsys, phone_call / "sample.wav")[0]["levels"]["speech"]
    encode(tmp_path / "call.ogg", call, "libopus", rate=48_000)
    (tmp_path / "call.pcm").write_bytes(pcm(call, 16))
    (tmp_path / "half.raw").write_bytes(pcm(call[::2], 16))
    others = [*measured(capsys, tmp_path / "call.pcm"), *measured(capsys, tmp_path / "half.raw", "--rate", "8000")]
    for one in others:
        assert one["seconds"] == 30.0
        assert one["levels"]["speech"] == pytest.approx(whole, abs=2.5)
    (compressed,) = measured(capsys, tmp_path / "call.ogg")
    assert compressed["seconds"] > 0


def test_several_recordings_are_told_one_after_the_other(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, phone_call: Path
) -> None:
    (tmp_path / "notes.wav").write_text("no sound")
    status = main([str(tmp_path / "notes.wav"), str(phone_call / "sample.wav")])
    said = capsys.readouterr()
    assert status == 1
    assert "notes.wav: " in said.err
    assert "sample.wav: 0:30.0" in said.out
    assert "<- set now" in said.out
    assert "suggested: ASR_NEARFIELD_RMS_THRESHOLD=" in said.out
    assert list(tmp_path.iterdir()) == [tmp_path / "notes.wav"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["missing.wav"], "missing.wav: there is no such file"),
        (["-", "-"], "once only"),
        (["--threshold", "7", "missing.wav"], "ASR_NEARFIELD_RMS_THRESHOLD"),
        (["--rate", "3", "missing.wav"], "4000 to 192000"),
        (["--picture", "a.svg", "one.wav", "two.wav"], "draws one recording"),
        (["--picture", "nowhere/a.svg", "one.wav"], "nowhere/a.svg"),
    ],
)
def test_what_makes_no_sense(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], told: str
) -> None:
    for name in ("one.wav", "two.wav"):
        written(tmp_path / name, tone(0.5))
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert told in said.err
    assert "Traceback" not in said.err


def test_the_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path, call: np.ndarray) -> None:
    measured(capsys, written(tmp_path / "a<&b.wav", call), "--picture", tmp_path / "a.svg")
    drawn = ElementTree.parse(tmp_path / "a.svg").getroot()
    texts = ["".join(one.itertext()) for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert any(text.startswith("a<&b.wav") for text in texts)
    assert "set now: 0.01 (-40 dBFS)" in texts
    assert any(text.startswith("suggested: ") for text in texts)
    assert "0:30.0" in texts


def test_a_picture_that_cannot_be_written_is_told_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "notes.wav").write_text("no sound: measuring it would fail")
    assert main([str(tmp_path / "notes.wav"), "--picture", str(tmp_path / "nowhere" / "a.svg")]) == 2
    said = capsys.readouterr()
    assert "nowhere/a.svg" in said.err
    assert "notes.wav: " not in said.err


def test_no_empty_picture_is_left(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "notes.wav").write_text("no sound")
    assert main([str(tmp_path / "notes.wav"), "--picture", str(tmp_path / "a.svg")]) == 1
    assert "notes.wav: " in capsys.readouterr().err
    assert not (tmp_path / "a.svg").exists()


def test_groups_that_no_threshold_parts_count_as_one() -> None:
    powers = np.repeat([1e-2, 1e-6], 1000)  # ten seconds at -20 dBFS, ten at -60
    spoken = np.ones(len(powers), np.bool_)
    listened = Listened(20.0, powers, np.ones(len(powers), np.float32), 0.5, modelled=True)
    parted = measure(listened, lambda bound: Heard(spoken, powers > (bound or 0) ** 2, 1), 0.01)
    assert parted.voices is not None
    assert parted.voices.far == pytest.approx(-60)
    assert {one.ignored_quiet for one in parted.tried} == {1.0}
    alike = measure(listened, lambda bound: Heard(spoken, spoken, 1), 0.01)
    assert alike.voices is not None
    assert alike.voices.far is None
    assert {(one.ignored_loud, one.ignored_quiet) for one in alike.tried} == {(None, None)}


def command(*arguments: str, **more: Any) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "MODELS_DIR": str(ROOT / "models")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env=environment, start_new_session=True, **pipes, **more
    )


def test_standard_input_as_a_user_pipes_it(call: np.ndarray) -> None:
    with command("-m", "tools.levels", "-", "--json") as process:
        out, err = process.communicate(pcm(call, 16), timeout=120)
    assert process.returncode == 0, err
    assert err == b""  # a bar is for terminals
    assert json.loads(out)["seconds"] == 30.0


def test_ctrl_c_ends_the_listening_and_not_the_measuring(call: np.ndarray, tmp_path: Path) -> None:
    with command("tools/levels.py", "-", "--json") as process:
        assert process.stdin is not None
        process.stdin.write(pcm(call[: 20 * RATE], 16))
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while not _taken_in(process.pid, 20 * RATE * 2 - (1 << 16)) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert 17 < json.loads(out)["seconds"] <= 20


def _taken_in(pid: int, size: int) -> bool:
    """Whether a file of the process's has so many bytes."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if "levels-" in str(link.readlink()) and link.stat().st_size >= size:
                return True
        except OSError:
            continue
    return False
