"""Qwen3-ASR and its aligner on vLLM beside transformers' own code, with the same random weights: what they say depends
on every layer and on the sound."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from models.small_qwen import make
from models.speech import say

from app.domain.devices import Device
from app.domain.engines import SAMPLE_RATE, Piece, PieceRequest
from app.domain.errors import EngineFailure
from app.domain.options import RecognitionOptions
from app.engines import qwen3
from app.engines.qwen3.plans import question
from app.engines.qwen3.prompts import recognition_prompt
from app.engines.qwen3.recognizer import QwenRecognizer
from app.settings import Settings
from parity import qwen_reference

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

MACHINE = Device(None, 24 << 30, 12 << 30)
SENTENCES = ["hello world", "how are you today", "turn on the light please", "one two three four five"]
SECONDS = (1.0, 1.3, 1.7, 2.9, 4.0, 7.3)
"""From one second on: below it transformers pads the sound, and vLLM does not."""


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all: an engine belongs to one."""
    with asyncio.Runner() as running:
        yield running


@pytest.fixture(scope="module", params=["original", "hf"])
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("qwen")
    return {
        "asr": make(root / "asr", kind="random", layout=request.param, seed=3),
        "aligner": make(root / "aligner", kind="aligner", seed=4, classify_num=300),
    }


@pytest.fixture(scope="module")
def recognizer(folders: dict[str, Path]) -> Iterator[QwenRecognizer]:
    loaded = qwen3.load(
        "qwen3-asr-0.6b",
        folders["asr"],
        Settings(asr_compute_type="float32"),
        companions={"aligner": folders["aligner"]},
        device=MACHINE,
    )
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def sounds() -> list[np.ndarray]:
    """Speech and noise of several lengths."""
    chance = np.random.default_rng(7)
    spoken = [say(text, "en-us+m7").astype(np.float32) for text in SENTENCES]
    noise = [chance.standard_normal(round(seconds * SAMPLE_RATE)).astype(np.float32) * 0.1 for seconds in SECONDS]
    return [*spoken, *noise]


def test_tokens_are_those_of_transformers(
    folders: dict[str, Path], recognizer: QwenRecognizer, sounds: list[np.ndarray], runner: asyncio.Runner
) -> None:
    prompt = recognition_prompt(RecognitionOptions(prompt="a context")).text
    asked = question(prompt, max_tokens=24)

    async def work() -> list[list[int]]:
        answers = await asyncio.gather(*(recognizer._process.ask(asked, sound) for sound in sounds))
        return [[token for token, _ in answer.tokens] for answer in answers]

    ours = runner.run(work())
    theirs = [[token for token, _ in qwen_reference.tokens(folders["asr"], prompt, sound, 24)] for sound in sounds]
    assert len({tuple(said) for said in theirs}) > len(sounds) // 2, "the sound hardly matters"
    assert ours == theirs


def test_times_are_those_of_transformers(
    folders: dict[str, Path], recognizer: QwenRecognizer, sounds: list[np.ndarray], runner: asyncio.Runner
) -> None:
    words = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog"]
    aligner = recognizer._aligner
    assert aligner is not None

    async def work() -> list[list[tuple[float, float]]]:
        return await asyncio.gather(*(aligner.align(sound, words) for sound in sounds))

    for sound, ours in zip(sounds, runner.run(work()), strict=True):
        seconds = len(sound) / SAMPLE_RATE
        told = qwen_reference.alignment(folders["aligner"], sound, words)
        assert ours == [(min(start, seconds), min(end, seconds)) for _, start, end in told]


def test_sound_of_any_length_is_heard(recognizer: QwenRecognizer, runner: asyncio.Runner) -> None:
    """From a few samples on, which the model itself would refuse, to more than a piece ever has."""
    options = RecognitionOptions(timed=False)

    async def work() -> None:
        for length in (1, 399, 400, 1600, 30 * SAMPLE_RATE, 60 * SAMPLE_RATE):
            piece = Piece(0.0, np.full(length, 0.01, dtype=np.float32))
            await recognizer.hear(PieceRequest(piece, options))

    runner.run(work())


def test_the_longest_context_fits(recognizer: QwenRecognizer, runner: asyncio.Runner) -> None:
    """Letters that make no words take the most tokens."""
    chance = np.random.default_rng(1)
    noise = "".join(chr(97 + number) for number in chance.integers(0, 26, 9000))
    piece = Piece(0.0, np.zeros(30 * SAMPLE_RATE, dtype=np.float32))
    request = PieceRequest(piece, RecognitionOptions(prompt=noise, timed=False))
    heard = runner.run(recognizer.hear(request))
    assert set(heard.warnings) & {"prompt_truncated", "prompt_dropped"}


def test_a_loop_is_ended_and_told(tmp_path: Path) -> None:
    folder = make(tmp_path / "loop", script="language English<asr_text>over and", loops=True)
    recognizer = qwen3.load("qwen3-asr-0.6b", folder, Settings(), companions={}, device=MACHINE)
    said: list[str] = []
    try:
        request = PieceRequest(Piece(0.0, np.zeros(20 * SAMPLE_RATE, dtype=np.float32)), RecognitionOptions())
        heard = asyncio.run(recognizer.hear(request, said.append))
    finally:
        recognizer.close()
    assert "repetition_cut" in heard.warnings
    assert len(heard.text.split()) < 12
    assert all(heard.text.startswith(text) for text in said)
    assert "".join((" " if word.space_before else "") + word.text for word in heard.words).strip() == heard.text


def test_what_vllm_cannot_hold_is_told(folders: dict[str, Path]) -> None:
    with pytest.raises(EngineFailure, match=r"needs .* GiB of memory on a CPU, and 1\.0 GiB are available"):
        qwen3.load("qwen3-asr-0.6b", folders["asr"], Settings(), companions={}, device=Device(None, 24 << 30, 1 << 30))
