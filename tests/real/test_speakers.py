"""Who said what, with the real models: joined conversations, real calls, known voices, channels, and odd recordings."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.domain.speakers import SpeakerOptions
from benchmarks import audio, voices
from benchmarks.conversations import MAKER, Conversation, Teller, crowded, existing, made, opened, turns_of
from benchmarks.diarization import Score, score

from .scoring import character_errors, plain, wav_bytes
from .server import RealServer

PEOPLE = (2, 3, 4, 2, 3, 4, 2, 3, 4, 2)
LEFT = "he began a confused complaint against the wizard who had vanished behind the curtain on the left"
RIGHT = "the horizon seems extremely distant"


@pytest.fixture(scope="module")
def teller(models_dir: Path) -> Iterator[Teller]:
    with Teller() as ready:
        yield ready


@pytest.fixture(scope="module")
def clips(shared_audio: Path) -> list[Path]:
    """Ten clips each of five people."""
    assert MAKER.is_file()
    return sorted((shared_audio / "speakers").glob("*.flac"))


def told(teller: Teller, one: Conversation, folder: Path, options: SpeakerOptions | None = None) -> tuple[int, Score]:
    """How many speakers were found, and the errors."""
    with opened(one.path, folder) as recording:
        found = teller.tell(recording, teller.spans(recording), options)
    return len(found.speakers), score(one.turns, turns_of(found), one.seconds)


def ask(server: RealServer, path: Path | bytes, **data: Any) -> httpx.Response:
    sound = path if isinstance(path, bytes) else path.read_bytes()
    url = f"{server.base}/v1/audio/transcriptions"
    return httpx.post(url, files={"file": ("sound", sound)}, data=data, timeout=300)


# --- conversations ----------------------------------------------------------------------------------------------------


def test_ten_conversations(teller: Teller, clips: list[Path], tmp_path: Path) -> None:
    """Five minutes each, two to four people: everybody is found, and hardly a word is given to another."""
    for number, people in enumerate(PEOPLE, start=1):
        conversation = made(tmp_path, number, people)
        found, errors = told(teller, conversation, tmp_path)
        assert found == people, conversation.name
        assert errors.part(errors.confusion) <= 0.03, conversation.name
        assert errors.der <= 0.08, conversation.name


def test_overlapped_speech_is_given_to_both(teller: Teller, clips: list[Path], tmp_path: Path) -> None:
    both, one = Score(), Score()
    for number, people in enumerate(PEOPLE[:2], start=1):
        conversation = crowded(tmp_path, clips, number, people, minutes=2.0)
        both += told(teller, conversation, tmp_path)[1]
        one += told(teller, conversation, tmp_path, SpeakerOptions(overlap=False))[1]
    assert both.missed < 0.8 * one.missed
    assert both.der < one.der


def test_the_number_of_speakers_can_be_said(teller: Teller, clips: list[Path], tmp_path: Path) -> None:
    conversation = made(tmp_path, 3, 3, minutes=1.5)
    for options, expected in (
        (SpeakerOptions(count=2), 2),
        (SpeakerOptions(count=5), 5),
        (SpeakerOptions(most=1), 1),
        (SpeakerOptions(least=4), 4),
        (SpeakerOptions(least=2, most=6), 3),
    ):
        assert told(teller, conversation, tmp_path, options)[0] == expected, options


def test_a_phone_call(teller: Teller, phone_call: Path, tmp_path: Path) -> None:
    found, errors = told(teller, existing(phone_call / "sample.wav"), tmp_path)
    assert found == 2
    assert errors.der <= 0.05


def test_who_says_what_on_the_phone(real_server: RealServer, phone_call: Path) -> None:
    body = ask(real_server, phone_call / "sample.wav", response_format="diarized_json").json()
    said: dict[str, str] = {}
    for segment in body["segments"]:
        said[segment["speaker"]] = said.get(segment["speaker"], "") + " " + plain(segment["text"])
    assert set(said) == {"A", "B"}
    assert "this is diane in new jersey" in said["A"]
    assert "originally from chicago also" in said["A"]
    assert "sheila" in said["B"]
    assert "call me a yankee down here" in said["B"]
    assert character_errors(body["text"], " ".join(segment["text"] for segment in body["segments"])) == 0


def test_every_word_has_a_speaker(real_server: RealServer, phone_call: Path) -> None:
    form = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    body = ask(real_server, phone_call / "sample.wav", **form).json()
    assert {word["speaker"] for word in body["words"]} == {"Speaker1", "Speaker2"}
    assert all(segment["speaker"] in {"Speaker1", "Speaker2"} for segment in body["segments"])
    subtitles = ask(real_server, phone_call / "sample.wav", response_format="srt").text
    assert "\n[Speaker1] Hello.\n" in subtitles
    assert "\n[Speaker2] Hello.\n" in subtitles


# --- odd recordings ---------------------------------------------------------------------------------------------------


def test_a_clip_of_a_second_has_one_speaker(real_server: RealServer, phone_call: Path) -> None:
    call = audio.read(phone_call / "sample.wav")
    for start, seconds in ((8.3, 1.0), (12.6, 1.0), (10.9, 0.5)):
        cut = call[round(start * 16000) : round((start + seconds) * 16000)]
        answer = ask(real_server, wav_bytes(cut), response_format="diarized_json", language="en")
        assert answer.status_code == 200, answer.text
        assert {segment["speaker"] for segment in answer.json()["segments"]} <= {"A"}


@pytest.mark.parametrize("people", ["", "1", "5"])
def test_silence_has_no_speakers(real_server: RealServer, people: str) -> None:
    hush = wav_bytes(np.zeros(48_000, np.int16))
    answer = ask(real_server, hush, response_format="diarized_json", num_speakers=people)
    assert answer.status_code == 200, answer.text
    assert answer.json()["segments"] == []


def test_one_person_is_one_speaker(real_server: RealServer, shared_audio: Path) -> None:
    body = ask(real_server, shared_audio / "en_jfk.flac", response_format="diarized_json").json()
    assert {segment["speaker"] for segment in body["segments"]} == {"A"}


# --- known voices -----------------------------------------------------------------------------------------------------


def test_enrolled_voices_are_named_in_conversations(teller: Teller, clips: list[Path], tmp_path: Path) -> None:
    """Three of five people are enrolled, on clips that are not in the conversations."""
    prints = voices.voiceprints(teller, clips, tmp_path)
    named = voices.conversations(teller, prints, clips, tmp_path, count=4, minutes=5.0)
    assert named.turns >= 60
    assert named.right >= 0.95 * named.turns
    assert named.strangers >= 40
    assert named.taken <= 0.05 * named.strangers


def test_voices_through_the_server(real_server: RealServer, clips: list[Path], tmp_path: Path) -> None:
    """Enrol, recognise, name, delete: as a client does it."""
    url = f"{real_server.base}/v1/voices"
    chance = random.Random(1)
    people = sorted({voices.person_of(clip) for clip in clips})[:3]
    enrolled = {person: [clip for clip in clips if voices.person_of(clip) == person][:2] for person in people[:2]}
    ids: dict[str, str] = {}
    for person, some in enrolled.items():
        files = [("files", (clip.name, clip.read_bytes())) for clip in some]
        made_of = httpx.post(url, data={"name": f"Person {person}"}, files=files, timeout=60)
        assert made_of.status_code == 201, made_of.text
        ids[person] = made_of.json()["id"]
    try:
        for person in people:
            other = next(clip for clip in reversed(clips) if voices.person_of(clip) == person)
            heard = httpx.post(f"{url}/identify", files={"file": other.read_bytes()}, timeout=60).json()
            assert (heard["voice"] or {}).get("id") == ids.get(person), heard
        rest = tmp_path / "clips"
        rest.mkdir()
        for clip in clips:
            if voices.person_of(clip) in people and clip not in [one for some in enrolled.values() for one in some]:
                (rest / clip.name).symlink_to(clip.resolve())
        conversation = made(tmp_path, chance.randint(1, 99), 3, minutes=1.0, clips=rest)
        body = ask(real_server, conversation.path, response_format="diarized_json", **{"voices[]": "all"}).json()
        spoken_in = {turn.speaker for turn in conversation.turns}
        names = {segment["speaker"] for segment in body["segments"]}
        assert names & {f"Person {person}" for person in people} == {
            f"Person {person}" for person in spoken_in & set(enrolled)
        }
        assert len(names) == len(spoken_in)
    finally:
        for voice in ids.values():
            assert httpx.delete(f"{url}/{voice}").status_code == 200
    assert httpx.get(url).json()["data"] == []


def test_speakers_that_come_with_the_request(real_server: RealServer, phone_call: Path) -> None:
    call = audio.read(phone_call / "sample.wav")
    parts = {"Diane": (10.8, 14.2), "Sheila": (24.1, 28.4)}
    urls = [
        "data:audio/wav;base64," + base64.b64encode(wav_bytes(call[round(start * 16000) : round(end * 16000)])).decode()
        for start, end in parts.values()
    ]
    form = {
        "response_format": "diarized_json",
        "known_speaker_names[]": list(parts),
        "known_speaker_references[]": urls,
    }
    body = ask(real_server, phone_call / "sample.wav", **form).json()
    assert {segment["speaker"] for segment in body["segments"]} == {"Diane", "Sheila"}
    of_diane = plain(" ".join(segment["text"] for segment in body["segments"] if segment["speaker"] == "Diane"))
    assert "this is diane in new jersey" in of_diane


# --- channels ---------------------------------------------------------------------------------------------------------


def test_two_people_on_two_channels(real_server: RealServer, shared_audio: Path) -> None:
    form = {"response_format": "diarized_json", "channel_split": "true", "channel_roles[]": ["agent", "客户"]}
    body = ask(real_server, shared_audio / "stereo_two_speakers.wav", **form).json()
    said = {
        role: plain(" ".join(segment["text"] for segment in body["segments"] if segment["speaker"] == role))
        for role in ("agent", "客户")
    }
    assert said == {"agent": LEFT, "客户": RIGHT}
    starts = [segment["start"] for segment in body["segments"]]
    assert starts == sorted(starts)


def test_channels_without_roles_are_numbered(real_server: RealServer, shared_audio: Path) -> None:
    path = shared_audio / "stereo_two_speakers.wav"
    body = ask(real_server, path, response_format="verbose_json", channel_split="true").json()
    assert {segment["speaker"] for segment in body["segments"]} == {"Speaker1", "Speaker2"}
    assert sorted(plain(body["text"]).split()) == sorted(f"{LEFT} {RIGHT}".split())


# --- what serves ------------------------------------------------------------------------------------------------------


def test_the_served_process_has_no_torch(real_server: RealServer, phone_call: Path) -> None:
    assert ask(real_server, phone_call / "sample.wav", response_format="diarized_json").status_code == 200
    mapped = Path(f"/proc/{real_server.process.pid}/maps").read_text()
    assert "onnxruntime" in mapped
    assert "libtorch" not in mapped
    assert "sklearn" not in mapped
