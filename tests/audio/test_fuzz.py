"""Broken headers without end: a recording or the caller's error in time, never the decoder's death.

FUZZ_EXAMPLES raises the budget.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.audio.declared import declared_sound
from app.audio.decoding import DecoderPool
from app.domain.errors import AudioTooLong, BadAudio, UndecodableAudio

from .making import encode, tone, wav

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "3000"))
NAMES = ("a.wav", "a.flac", "a.mp3", "a.opus", "a.m4a", "a.webm", "a.aiff")
CODECS = {"a.flac": "flac", "a.mp3": "libmp3lame", "a.opus": "libopus", "a.m4a": "aac", "a.webm": "libopus"}


class Decoders:
    """A pool on a loop of its own, for tests that are called many times."""

    def __init__(self, temp: Path) -> None:
        self.temp = temp
        self._runner = asyncio.Runner()
        self._pool = DecoderPool(workers=1, temp_dir=temp, max_seconds=3600, timeout=20)
        self._runner.run(self._pool.start())

    def decode(self, content: bytes) -> float | str:
        """Seconds of sound, or the caller's error."""

        async def decoded() -> float | str:
            path = self.temp / "fuzzed"
            await asyncio.to_thread(path.write_bytes, content)
            try:
                with await self._pool.decode(path) as recording:
                    return recording.duration
            except (BadAudio, AudioTooLong) as error:
                return error.code

        return self._runner.run(decoded())

    def close(self) -> None:
        self._runner.run(self._pool.close())
        self._runner.close()


@contextmanager
def _decoders(temp: Path) -> Iterator[Decoders]:
    made = Decoders(temp)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def decoders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decoders]:
    with _decoders(tmp_path_factory.mktemp("fuzz")) as made:
        yield made


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("originals")
    for name in NAMES:
        if name == "a.wav":
            wav(folder / name, tone(0.5))
        else:
            rate = 48_000 if CODECS.get(name) == "libopus" else 44_100
            encode(folder / name, tone(0.5, rate=rate), CODECS.get(name, "pcm_s16be"), rate=rate)
    return {name: (folder / name).read_bytes() for name in NAMES}


MUTATIONS = st.lists(st.tuples(st.integers(0, 600), st.binary(min_size=1, max_size=8)), max_size=6)


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(NAMES), mutations=MUTATIONS, kept=st.integers(1, 40_000), tail=st.binary(max_size=64))
def test_mutated_files(
    decoders: Decoders,
    originals: dict[str, bytes],
    name: str,
    mutations: list[tuple[int, bytes]],
    kept: int,
    tail: bytes,
) -> None:
    content = bytearray(originals[name])
    for at, change in mutations:
        content[at : at + len(change)] = change
    outcome = decoders.decode(bytes(content[:kept]) + tail)
    assert isinstance(outcome, str) or outcome > 0


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(start=st.sampled_from([b"RIFF", b"OggS", b"fLaC", b"ID3", b"\x1aE\xdf\xa3", b"....ftyp", b""]), rest=st.binary())
def test_bytes_of_any_kind(decoders: Decoders, start: bytes, rest: bytes) -> None:
    outcome = decoders.decode(start + rest)
    assert isinstance(outcome, str) or outcome > 0


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(
    st.one_of(
        st.text(),
        st.builds("audio/{};rate={};channels={}".format, st.sampled_from(["pcm", "L16"]), st.text(), st.text()),
    )
)
def test_media_types_of_any_kind(said: str) -> None:
    try:
        declared_sound(said)
    except UndecodableAudio as error:
        assert "rate=16000" in error.message
