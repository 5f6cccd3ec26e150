"""Nobody's words reach somebody else: what a clip says alone is its tag, and under load every answer is its own tag."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from .scoring import read_wav, wav_bytes
from .server import RealServer

RATE = 16_000
CLIPS, ROUNDS = 64, int(os.environ.get("ISOLATION_ROUNDS", "5"))
WHISPER_CLIPS, WHISPER_REQUESTS, WHISPER_CLIENTS = 10, 60, 16


@dataclass(frozen=True, eq=False)
class Ask:
    """One clip and how it is asked for."""

    sound: bytes
    form: dict[str, str]

    def answer(self, client: httpx.Client) -> str:
        """The whole answer: text, times, words."""
        reply = client.post("/v1/audio/transcriptions", files={"file": ("a.wav", self.sound)}, data=self.form)
        assert reply.status_code == 200, reply.text
        return reply.text


FORMS = (
    {"language": "en", "response_format": "verbose_json", "timestamp_granularities[]": "word"},
    {"language": "en", "response_format": "text"},
    {"language": "de", "response_format": "srt"},
    {"language": "en", "response_format": "json", "prompt": "A telephone call."},
    {"language": "en", "response_format": "json", "stream": "true"},
    {"response_format": "verbose_json"},
)


def cuts(sound: object, count: int, seed: int) -> Iterator[bytes]:
    """Stretches of a recording, no two alike."""
    rng = random.Random(seed)
    length = len(sound)  # type: ignore[arg-type]
    for _ in range(count):
        size = round(rng.uniform(1.5, 4.0) * RATE)
        start = rng.randrange(0, length - size)
        yield wav_bytes(sound[start : start + size])  # type: ignore[index]


def tagged(client: httpx.Client, asks: Iterator[Ask], wanted: int) -> dict[Ask, str]:
    """Asks whose answers, given alone, differ from each other."""
    tags: dict[str, Ask] = {}
    for ask in asks:
        said = ask.answer(client)
        if len(said) > 20:
            tags.setdefault(said, ask)
        if len(tags) == wanted:
            break
    assert len(tags) == wanted, "not enough clips that say something of their own"
    return {ask: said for said, ask in tags.items()}


def all_own(base: str, work: list[tuple[Ask, str]], clients: int) -> None:
    """Every answer is its clip's tag."""
    limits = httpx.Limits(max_connections=clients)
    with httpx.Client(base_url=base, timeout=300, limits=limits) as http, ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(lambda item: item[0].answer(http), work))
    strange = [(said, tag) for said, (_, tag) in zip(answers, work, strict=True) if said != tag]
    owners = {tag for _, tag in work}
    assert not [said for said, _ in strange if said in owners], "somebody got somebody else's words"
    assert not strange, f"{len(strange)} of {len(work)} differ from the lone answer: {strange[0]}"


@pytest.mark.timeout(600)
def test_sixty_four_at_once_again_and_again(small_server: RealServer, phone_call: Path) -> None:
    sound = read_wav(phone_call / "sample.wav")
    with httpx.Client(base_url=small_server.base, timeout=60) as http:
        asks = (Ask(clip, FORMS[index % len(FORMS)]) for index, clip in enumerate(cuts(sound, 400, 3)))
        tags = list(tagged(http, asks, CLIPS).items())
    rng = random.Random(4)
    for _ in range(ROUNDS):
        rng.shuffle(tags)
        all_own(small_server.base, tags, CLIPS)


@pytest.mark.timeout(600)
def test_sixty_on_whisper(real_server: RealServer, phone_call: Path) -> None:
    sound = read_wav(phone_call / "sample.wav")
    form = {"language": "en", "response_format": "verbose_json", "timestamp_granularities[]": "word"}
    with httpx.Client(base_url=real_server.base, timeout=120) as http:
        tags = list(tagged(http, (Ask(clip, form) for clip in cuts(sound, 60, 5)), WHISPER_CLIPS).items())
    work = tags * (WHISPER_REQUESTS // WHISPER_CLIPS)
    random.Random(6).shuffle(work)
    all_own(real_server.base, work, WHISPER_CLIENTS)
