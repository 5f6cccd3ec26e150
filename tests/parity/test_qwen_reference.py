"""What Qwen3-ASR is compared with: it hears, it reads both layouts alike, and it refuses half a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from models.small_qwen import make

from .qwen_reference import Samples, alignment, bins, tokens

pytestmark = pytest.mark.vllm

PROMPT = (
    "<|im_start|>system\n<|im_end|>\n<|im_start|>user\n<|audio_start|><|audio_pad|><|audio_end|><|im_end|>\n"
    "<|im_start|>assistant\n"
)
WORDS = ["今", "天", "is", "fine"]


def noise(seconds: float, seed: int = 0) -> Samples:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(16_000 * seconds))).astype(np.float32)


def said(folder: Path, samples: Samples, count: int = 12) -> list[int]:
    return [token for token, _ in tokens(folder, PROMPT, samples, count)]


def test_it_says_the_script(tmp_path: Path):
    script = "language Chinese<asr_text>今天天气很好。"
    make(tmp_path, script=script)
    from transformers import AutoTokenizer  # noqa: PLC0415 - in the heavy environment only

    heard = tokens(tmp_path, PROMPT, noise(1.3), 40)

    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.decode([token for token, _ in heard]) == script + "<|im_end|>"
    assert all(-0.05 < chance < 0 for _, chance in heard)


def test_a_script_that_loops_does_not_end(tmp_path: Path):
    make(tmp_path, script="language English<asr_text>and so on", loops=True)
    heard = said(tmp_path, noise(1.0), 21)
    assert heard[3:] == heard[3:6] * 6


@pytest.mark.parametrize("seconds", [0.61, 3.0, 9.37])
def test_both_layouts_say_the_same_and_it_depends_on_the_sound(tmp_path: Path, seconds: float):
    original = make(tmp_path / "original", kind="random", seed=5)
    hf = make(tmp_path / "hf", kind="random", seed=5, layout="hf")

    heard = tokens(original, PROMPT, noise(seconds), 12)
    again = tokens(hf, PROMPT, noise(seconds), 12)

    assert [token for token, _ in heard] == [token for token, _ in again]
    assert [chance for _, chance in heard] == pytest.approx([chance for _, chance in again], abs=1e-4)
    assert said(original, noise(seconds, seed=1)) != [token for token, _ in heard]


def test_both_layouts_align_the_same_and_it_depends_on_the_sound(tmp_path: Path):
    original = make(tmp_path / "original", kind="aligner", classify_num=60)
    hf = make(tmp_path / "hf", kind="aligner", classify_num=60, layout="hf")

    raw = bins(original, noise(9.37), WORDS)

    assert len(raw) == 2 * len(WORDS)
    assert raw == bins(hf, noise(9.37), WORDS)
    assert raw != bins(original, noise(9.37, seed=1), WORDS)
    aligned = alignment(original, noise(9.37), WORDS)
    assert [word for word, _, _ in aligned] == WORDS
    times = [time for _, start, end in aligned for time in (start, end)]
    assert times == sorted(times)
    assert {round(time / 0.08) for time in times} <= set(raw)


@pytest.mark.parametrize("layout", ["original", "hf"])
def test_weights_that_are_missing_are_not_made_up(tmp_path: Path, layout: str):
    make(tmp_path, kind="random", layout="hf" if layout == "hf" else "original")
    raw = (tmp_path / "model.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    name = next(name for name in header if name.endswith("layers.1.fc1.weight"))
    text = json.dumps(header).replace(name, name.replace("fc1", "fc3")).encode().ljust(length)
    (tmp_path / "model.safetensors").write_bytes(raw[:8] + text + raw[8 + length :])

    with pytest.raises((AssertionError, RuntimeError), match="fc1"):
        said(tmp_path, noise(1.0), 1)


def test_a_script_that_cannot_be_told_by_its_last_token_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="none of them twice"):
        make(tmp_path, script="language English<asr_text>so on and so on")
