"""Enrolled voices: whose they are, what they may be called, and how many there may be."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest
from enrolling import ENCODER, run, voiceprint

from app.domain.errors import InvalidParameter, UnknownVoice, VoiceExists
from app.domain.speakers import KnownVoice
from app.service.voices.names import clean_name, name_key
from app.service.voices.store import MAX_ASKED, MAX_SAMPLES, VoiceStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "voices.db"


def bits(voice: KnownVoice) -> list[list[float]]:
    return [sample.embedding.tolist() for sample in voice.voiceprints]


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_what_is_enrolled_is_known_also_after_a_restart(path: Path) -> None:
    samples = [voiceprint(1, 2.5), voiceprint(2, 4.0)]

    async def enrol(store: VoiceStore) -> str:
        voice = await store.enrol("key", "  王小明 ", samples)
        assert (voice.name, voice.samples, voice.seconds, voice.encoder) == ("王小明", 2, 6.5, ENCODER)
        assert abs(voice.created - time.time()) < 10
        assert len(voice.id) == len("voice_") + 24
        return voice.id

    async def again(store: VoiceStore) -> None:
        (voice,) = await store.list("key")
        assert voice == await store.get("key", voice_id)
        (known,) = await store.known("key", ENCODER)
        assert (known.id, known.name) == (voice_id, "王小明")
        assert bits(known) == [sample.embedding.tolist() for sample in samples]
        assert [sample.seconds for sample in known.voiceprints] == [2.5, 4.0]
        assert known.voiceprints[0].embedding.dtype == np.float32

    voice_id = run(path, enrol)
    run(path, again)


def test_samples_are_added(path: Path) -> None:
    async def scenario(store: VoiceStore) -> None:
        voice = await store.enrol("key", "Anna", [voiceprint(1)])
        grown = await store.add("key", voice.id, [voiceprint(2, 3.0), voiceprint(3, 4.0)])
        assert (grown.id, grown.samples, grown.seconds) == (voice.id, 3, 9.0)
        with pytest.raises(InvalidParameter, match="this one has 3") as caught:
            await store.add("key", voice.id, [voiceprint(seed) for seed in range(MAX_SAMPLES - 2)])
        assert caught.value.param == "files"
        assert await store.get("key", voice.id) == grown
        with pytest.raises(InvalidParameter):
            await store.enrol("key", "Bert", [voiceprint(seed) for seed in range(MAX_SAMPLES + 1)])
        assert [each.name for each in await store.list("key")] == ["Anna"]

    run(path, scenario)


def test_samples_of_another_encoder_are_kept_apart(path: Path) -> None:
    async def scenario(store: VoiceStore) -> None:
        anna = await store.enrol("key", "Anna", [voiceprint(1), voiceprint(2)])
        await store.enrol("key", "Bert", [voiceprint(3)])
        newer = await store.add("key", anna.id, [voiceprint(4, 7.0, "encoder-two")])
        assert (newer.encoder, newer.samples, newer.seconds) == ("encoder-two", 1, 7.0)
        (known,) = await store.known("key", "encoder-two")
        assert (known.name, len(known.voiceprints), known.voiceprints[0].encoder) == ("Anna", 1, "encoder-two")
        with pytest.raises(UnknownVoice, match="'Bert'"):
            await store.known("key", "encoder-two", ["Bert"])

    run(path, scenario)


def test_voices_are_asked_for_by_name_or_id(path: Path) -> None:
    async def scenario(store: VoiceStore) -> None:
        anna = await store.enrol("key", "Änna", [voiceprint(1)])
        bert = await store.enrol("key", "Bert", [voiceprint(2)])
        assert await store.known("key", ENCODER, []) == []
        asked = await store.known("key", ENCODER, [bert.id, "A\u0308NNA", "bert", f" {anna.id} "])
        assert [voice.id for voice in asked] == [bert.id, anna.id]
        for wanted in ("Carla", "voice_" + "0" * 24, "", "\ud800", "x" * 100_000):
            with pytest.raises(UnknownVoice) as caught:
                await store.known("key", ENCODER, ["Bert", wanted], param="speakers")
            assert caught.value.param == "speakers"
            assert wanted.encode("utf-8", "backslashreplace").decode()[:100] in caught.value.message
            assert len(caught.value.message.encode()) < 200
        with pytest.raises(InvalidParameter):
            await store.known("key", ENCODER, ["Bert"] * (MAX_ASKED + 1))

    run(path, scenario)


def test_owners_do_not_see_each_other(path: Path) -> None:
    async def scenario(store: VoiceStore) -> None:
        mine = await store.enrol("mine", "Anna", [voiceprint(1)])
        theirs = await store.enrol("theirs", "Anna", [voiceprint(2)])
        for owner, own, other in (("mine", mine, theirs), ("theirs", theirs, mine)):
            assert await store.list(owner) == [own]
            assert [voice.id for voice in await store.known(owner, ENCODER)] == [own.id]
            for attempt in (
                store.get(owner, other.id),
                store.add(owner, other.id, [voiceprint(3)]),
                store.delete(owner, other.id),
                store.known(owner, ENCODER, [other.id]),
            ):
                with pytest.raises(UnknownVoice):
                    await attempt
        assert await store.list("") == []
        await store.delete("mine", mine.id)
        assert await store.list("theirs") == [theirs]

    run(path, scenario)


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (" Anna ", "Anna"),
        ("Zoe\u0308", "Zo\u00eb"),
        ("王小明", "王小明"),
        ("Smith, John", "Smith, John"),
        ("👩‍🔬", "👩‍🔬"),
        ("x" * 64, "x" * 64),
        ("e\u0301" * 64, "\u00e9" * 64),
    ],
)
def test_names(said: str, kept: str) -> None:
    assert clean_name(said) == kept


NO_NAMES = (
    *(None, "", "  \t", "x" * 65, "a\nb", "a\x00b", "a\u0085b", "a\u2028b", "\ud800", "\u200b", "a\u202eb"),
    "voice_" + "a1" * 12,
)


@pytest.mark.parametrize("said", NO_NAMES)
def test_what_is_no_name(said: str | None) -> None:
    with pytest.raises(InvalidParameter) as caught:
        clean_name(said)
    assert caught.value.param == "name"
    assert not said or said not in caught.value.message


@pytest.mark.parametrize(("one", "other"), [("ANNA", "anna"), ("Straße", "STRASSE"), ("Zoe\u0308", "ZO\u00cb")])
def test_names_that_are_the_same(path: Path, one: str, other: str) -> None:
    async def scenario(store: VoiceStore) -> None:
        voice = await store.enrol("key", one, [voiceprint(1)])
        with pytest.raises(VoiceExists, match=voice.id) as caught:
            await store.enrol("key", other, [voiceprint(2)])
        assert caught.value.param == "name"
        await store.delete("key", voice.id)
        await store.enrol("key", other, [voiceprint(2)])

    assert name_key(one) == name_key(other)
    run(path, scenario)


# --- many at once -----------------------------------------------------------------------------------------------------


def test_fifty_at_once(path: Path) -> None:
    async def scenario(store: VoiceStore) -> None:
        enrolments = (store.enrol("key", f"Voice {number}", [voiceprint(number)]) for number in range(50))
        assert len({voice.id for voice in await asyncio.gather(*enrolments)}) == 50
        assert len(await store.list("key")) == 50
        same = (store.enrol("key", "Anna", [voiceprint(number)]) for number in range(50))
        outcomes = await asyncio.gather(*same, return_exceptions=True)
        assert sum(isinstance(outcome, VoiceExists) for outcome in outcomes) == 49

    run(path, scenario)


def test_the_most_voices_of_an_owner(path: Path) -> None:
    async def scenario(store: VoiceStore) -> None:
        enrolments = (store.enrol("key", f"Voice {number}", [voiceprint(number)]) for number in range(8))
        outcomes = await asyncio.gather(*enrolments, return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, InvalidParameter)]
        assert len(refused) == 5
        assert "MAX_VOICES" in refused[0].message
        await store.enrol("other", "Anna", [voiceprint(1)])
        await store.delete("key", (await store.list("key"))[0].id)
        await store.enrol("key", "One more", [voiceprint(1)])

    run(path, scenario, max_voices=3)


def test_two_servers_share_a_database(path: Path) -> None:
    async def scenario(one: VoiceStore) -> None:
        await one.open()
        other = VoiceStore(path, busy_seconds=30)
        try:
            await other.open()
            enrolments = [
                store.enrol("key", f"Voice {number}", [voiceprint(number)])
                for number in range(20)
                for store in (one, other)
            ]
            outcomes = await asyncio.gather(*enrolments, return_exceptions=True)
            assert sum(isinstance(outcome, VoiceExists) for outcome in outcomes) == 20
            voices = await one.list("key")
            assert voices == await other.list("key")
            await one.delete("key", voices[0].id)
            with pytest.raises(UnknownVoice):
                await other.get("key", voices[0].id)
        finally:
            await other.close()

    run(path, scenario, busy_seconds=30)
