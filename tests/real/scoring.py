"""What was said, as plain words, and how far an answer is from it."""

from __future__ import annotations

import io
import re
import unicodedata
import wave
from pathlib import Path

import jiwer
import numpy as np
import opencc

from app.domain.engines import SAMPLE_RATE


def plain(text: str) -> str:
    """Lower-case words without punctuation, one space between them."""
    kept = "".join(" " if unicodedata.category(mark)[0] in "PS" and mark != "'" else mark for mark in text.lower())
    return " ".join(kept.split())


def characters(text: str) -> str:
    """Letters and digits only."""
    return "".join(mark for mark in text if mark.isalnum())


def word_error_rate(reference: str, heard: str) -> float:
    return jiwer.wer(plain(reference), plain(heard))


def character_errors(reference: str, heard: str) -> int:
    """Characters substituted, inserted or missing, punctuation aside."""
    counts = jiwer.process_characters(characters(reference), characters(heard))
    return counts.substitutions + counts.insertions + counts.deletions


def is_simplified(text: str) -> bool:
    return opencc.OpenCC("t2s").convert(text) == text


def stm_lines(path: Path) -> list[tuple[float, float, str]]:
    """(start, end, words) of each line of a NIST .stm file."""
    fields = [line.split(maxsplit=5) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [(float(start), float(end), words) for _, _, _, start, end, words in fields]


def read_wav(path: Path) -> np.ndarray:
    """int16 samples of a 16 kHz mono wav file."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (SAMPLE_RATE, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def wav_bytes(samples: np.ndarray) -> bytes:
    """A wav file of int16 samples at 16 kHz."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


Cue = tuple[float, float, str]


def parse_srt(body: str) -> list[Cue]:
    """Cues of a SubRip file that is exactly what the format says; anything else fails."""
    blocks = body.split("\n\n")
    assert blocks.pop() == "", "every cue ends with a blank line"
    cues: list[Cue] = []
    for number, block in enumerate(blocks, start=1):
        count, times, *lines = block.split("\n")
        assert count == str(number)
        cues.append((*_times(times, ","), "\n".join(_two(lines))))
    return cues


def parse_vtt(body: str) -> list[Cue]:
    """Cues of a WebVTT file without numbers or settings; anything else fails."""
    header, *blocks = body.split("\n\n")
    assert header == "WEBVTT"
    assert blocks.pop() == "", "every cue ends with a blank line"
    cues: list[Cue] = []
    for block in blocks:
        times, *lines = block.split("\n")
        assert "-->" not in "".join(lines)
        cues.append((*_times(times, "."), "\n".join(_two(lines))))
    return cues


def _two(lines: list[str]) -> list[str]:
    assert 1 <= len(lines) <= 2
    assert all(line == line.strip() and line for line in lines)
    return lines


def _times(line: str, point: str) -> tuple[float, float]:
    stamp = rf"(\d\d):([0-5]\d):([0-5]\d){re.escape(point)}(\d\d\d)"
    match = re.fullmatch(f"{stamp} --> {stamp}", line)
    assert match, line
    numbers = [int(number) for number in match.groups()]
    start, end = ((h * 3600 + m * 60 + s) + ms / 1000 for h, m, s, ms in (numbers[:4], numbers[4:]))
    assert start < end
    return start, end
