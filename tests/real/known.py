"""Recordings whose words are known, and how many words of them an answer has wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import jiwer

from benchmarks import audio

from .scoring import characters, plain, stm_lines, wav_bytes
from .server import RealServer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Sixteen = NDArray[np.int16]

POINTS = 0.02
"""By how much the share of wrong words may be larger in live text than in a file's."""
_NAMES = ("en_jfk.flac", "en_steve_jobs_10s.wav", "zh_asr_example.wav", "zh_aishell_mid.wav", "zh_aishell_long.wav")


@dataclass(frozen=True)
class Known:
    """Sound, 16 kHz mono, and what is said in it."""

    sound: Sixteen
    words: str

    @property
    def wav(self) -> bytes:
        return wav_bytes(self.sound)


def known_recordings(shared_audio: Path, phone_call: Path) -> list[Known]:
    """English and Chinese, a phone call last."""
    lines = [line.split("\t") for line in (shared_audio / "manifest.tsv").read_text(encoding="utf-8").splitlines()]
    known = {name: text for name, _, text, _ in lines}
    call = " ".join(words for _, _, words in stm_lines(phone_call / "sample.stm"))
    return [
        *(Known(audio.read(shared_audio / name), known[name]) for name in _NAMES),
        Known(audio.read(phone_call / "sample.wav"), call),
    ]


def transcripts(server: RealServer, recordings: Sequence[Known]) -> list[str]:
    """What the server hears when they are uploaded."""
    with httpx.Client(base_url=server.base, timeout=120) as http:
        return [
            http.post(
                "/v1/audio/transcriptions",
                data={"response_format": "json"},
                files={"file": ("a.wav", one.wav)},
            ).json()["text"]
            for one in recordings
        ]


def wrong(recordings: Sequence[Known], texts: Sequence[str]) -> float:
    """The share of wrong words in all of them together; of Chinese, characters."""
    return jiwer.wer([_units(one.words) for one in recordings], [_units(text) for text in texts])


def _units(text: str) -> str:
    return " ".join(word if word.isascii() else " ".join(characters(word)) for word in plain(text).split())
