"""What is kept of jobs, as bytes and back: everything comes back as it was, and what cannot be read is said."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from service.enrolling import voiceprint

from app.audio.declared import DeclaredSound
from app.domain.engines import Hypothesis, SpeechSpan
from app.domain.errors import JobUnreadable
from app.domain.hotwords import Hotword, HotwordHit
from app.domain.masking import Masking
from app.domain.options import RecognitionOptions, SpeechDetection
from app.domain.speakers import KnownVoice, Speaker, SpeakerOptions
from app.domain.transcript import Segment, TokenLogprob, Transcript, Usage, Word
from app.pipeline.segmentation import Cut
from app.service.jobs.codec import (
    FAILURES,
    HYPOTHESES,
    PLANS,
    REQUESTS,
    TRANSCRIPTS,
    Codec,
    encode_terms,
    encode_voiceprints,
    readable,
    with_terms,
    with_voiceprints,
    without_terms,
)
from app.service.jobs.job import Failure, JobRequest, Plan, Webhook

_T = TypeVar("_T")
TEXT = some.text(some.characters(), max_size=20)  # lone surrogates and NUL included
REAL = some.floats(allow_nan=False)  # NaN is equal to nothing; it has a test of its own
SMALL = some.integers(-(2**70), 2**70)


def tuples(of: some.SearchStrategy[_T]) -> some.SearchStrategy[tuple[_T, ...]]:
    return some.lists(of, max_size=3).map(tuple)


def maybe(of: some.SearchStrategy[_T]) -> some.SearchStrategy[_T | None]:
    return some.none() | of


SPEAKERS = some.builds(Speaker, SMALL, maybe(TEXT))
WORDS = some.builds(Word, TEXT, REAL, REAL, maybe(REAL), some.booleans(), tuples(SMALL), maybe(SPEAKERS))
LOGPROBS = some.builds(TokenLogprob, TEXT, some.binary(max_size=8), REAL)
HEARD = some.builds(
    Hypothesis,
    TEXT,
    TEXT,
    some.dictionaries(TEXT, REAL, max_size=3),
    tuples(WORDS),
    tuples(SMALL),
    tuples(LOGPROBS),
    maybe(REAL),
    maybe(REAL),
    maybe(REAL),
    maybe(REAL),
    SMALL,
    SMALL,
    tuples(TEXT),
)
SEGMENTS = some.builds(
    Segment,
    REAL,
    REAL,
    TEXT,
    tuples(WORDS),
    maybe(SPEAKERS),
    tuples(SMALL),
    maybe(REAL),
    maybe(REAL),
    maybe(REAL),
    maybe(REAL),
    tuples(LOGPROBS),
)
WRITTEN = some.builds(
    Transcript,
    TEXT,
    maybe(TEXT),
    REAL,
    TEXT,
    tuples(SEGMENTS),
    some.builds(Usage, REAL, SMALL, SMALL, SMALL),
    tuples(TEXT),
    tuples(SPEAKERS),
    tuples(some.builds(HotwordHit, TEXT, SMALL, SMALL)),
)
SPANS = some.builds(SpeechSpan, REAL, REAL)
PLANNED = some.builds(Plan, tuples(SPANS), tuples(some.builds(Cut, REAL, REAL, tuples(SPANS))), REAL, REAL)
OPTIONS = some.builds(
    RecognitionOptions,
    language=maybe(TEXT),
    languages=tuples(TEXT),
    prompt=TEXT,
    hotwords=tuples(some.builds(Hotword, TEXT, REAL)),
    punctuation=some.booleans(),
    itn=maybe(some.booleans()),
    temperature=REAL,
    task=some.sampled_from(["transcribe", "translate"]),
    timed=some.booleans(),
    logprobs=some.booleans(),
    draft=some.booleans(),
    detection=some.builds(SpeechDetection, maybe(REAL), maybe(REAL), maybe(REAL)),
    speakers=maybe(some.builds(SpeakerOptions, maybe(SMALL), SMALL, maybe(SMALL), some.booleans())),
    split_channels=some.booleans(),
    channel_roles=tuples(TEXT),
    masking=tuples(some.builds(Masking, tuples(TEXT), some.sampled_from(["stars", "remove", "parentheses"]))),
)
ASKED = some.builds(
    JobRequest,
    TEXT,
    OPTIONS,
    name=TEXT,
    address=maybe(TEXT),
    declared=maybe(some.builds(DeclaredSound, some.sampled_from(["s16le", "mulaw"]), SMALL, SMALL)),
    face=some.sampled_from(["jobs", "aliyun", "oddasr"]),
    drawing=some.dictionaries(TEXT, TEXT | SMALL | REAL | some.booleans() | some.none(), max_size=3),
    webhook=maybe(some.builds(Webhook, TEXT, TEXT)),
    metadata=some.dictionaries(TEXT, TEXT, max_size=3),
    priority=SMALL,
)


def comes_back(codec: Codec[_T], value: _T) -> None:
    back = codec.decode(codec.encode(value))
    assert back == value
    assert repr(back) == repr(value), "also -0.0 and 0, True and 1"


@given(HEARD)
def test_a_hypothesis_comes_back(value: Hypothesis) -> None:
    comes_back(HYPOTHESES, value)


@given(WRITTEN)
def test_a_transcript_comes_back(value: Transcript) -> None:
    comes_back(TRANSCRIPTS, value)


@given(PLANNED)
def test_a_plan_comes_back(value: Plan) -> None:
    comes_back(PLANS, value)


@given(ASKED)
def test_a_request_comes_back(value: JobRequest) -> None:
    comes_back(REQUESTS, value)


@given(some.builds(Failure, TEXT, TEXT, TEXT, maybe(TEXT)))
def test_a_failure_comes_back(value: Failure) -> None:
    comes_back(FAILURES, value)


def test_what_engines_leave_of_numpy_comes_back_as_numbers() -> None:
    word = Word("a", np.float64(0.1), np.float32(0.2), None, bool(np.True_), (np.int64(7),))  # type: ignore[arg-type]
    back = HYPOTHESES.decode(HYPOTHESES.encode(Hypothesis("a", "en", {}, (word,), avg_logprob=math.nan)))
    assert (back.words[0].start, back.words[0].end, back.words[0].tokens) == (0.1, float(np.float32(0.2)), (7,))
    assert math.isnan(back.avg_logprob or 0.0)


def test_lists_come_back_as_tuples() -> None:
    plan = Plan([SpeechSpan(0.0, 1.0)], [Cut(0.0, 1.0, (SpeechSpan(0.0, 1.0),))], 2.0)
    assert PLANS.decode(PLANS.encode(plan)) == replace(plan, spans=tuple(plan.spans), cuts=tuple(plan.cuts))


def test_voiceprints_are_kept_apart_and_come_back_to_the_bit() -> None:
    voices = (KnownVoice("Anna", (voiceprint(1), voiceprint(2)), "voice_1"), KnownVoice("nobody", ()))
    asked = JobRequest("m", RecognitionOptions(speakers=SpeakerOptions(voices=voices)))
    body, kept = REQUESTS.encode(asked), encode_voiceprints(asked)
    assert kept is not None
    back = REQUESTS.decode(body)
    assert back.options.speakers is not None
    assert [voice.voiceprints for voice in back.options.speakers.voices] == [(), ()]
    whole = with_voiceprints(back, kept).options.speakers
    assert whole is not None
    assert [(voice.name, voice.id) for voice in whole.voices] == [("Anna", "voice_1"), ("nobody", None)]
    for found, given_one in zip(whole.voices[0].voiceprints, voices[0].voiceprints, strict=True):
        assert found.embedding.tobytes() == given_one.embedding.tobytes()
        assert found.embedding.flags.writeable
    assert encode_voiceprints(JobRequest("m", RecognitionOptions(speakers=SpeakerOptions(voices=voices[1:])))) is None
    with pytest.raises(JobUnreadable, match="damaged"):
        with_voiceprints(JobRequest("m", RecognitionOptions()), kept)


def test_what_is_long_is_compressed() -> None:
    short = Hypothesis("a", "en", {})
    long = replace(short, words=tuple(Word("word", place / 3, place / 3 + 0.1) for place in range(300)))
    assert HYPOTHESES.encode(short).startswith(b'{"v":1,')
    packed = HYPOTHESES.encode(long)
    assert len(packed) < len(zlib.decompress(packed)) / 4


@pytest.mark.parametrize("packed", [False, True])
def test_a_newer_versions_bytes_are_refused(packed: bool) -> None:
    text = json.dumps({"v": 2, "is": {"something": "new"}}).encode()
    with pytest.raises(JobUnreadable, match="newer version"):
        HYPOTHESES.decode(zlib.compress(text) if packed else text)


@pytest.mark.parametrize(
    "asked",
    [
        b'{"model":"m","options":{},"wish":1}',
        b'{"model":"m","options":{"wish":true}}',
        b'{"model":"m","options":{"task":"summarise"}}',
    ],
)
def test_what_is_asked_of_a_newer_version_is_refused_as_such(asked: bytes) -> None:
    with pytest.raises(JobUnreadable, match="newer version"):
        REQUESTS.decode(b'{"v":1,"is":%s}' % asked)


def test_what_has_its_default_is_left_out_so_that_versions_without_it_can_read_the_rest() -> None:
    asked = JobRequest("m", RecognitionOptions(language="en", temperature=-0.0, detection=SpeechDetection(0.5)))
    kept = b'{"v":1,"is":{"model":"m","options":{"language":"en","temperature":-0.0,"detection":{"threshold":0.5}}}}'
    assert REQUESTS.encode(asked) == kept


def test_of_a_request_that_cannot_be_read_there_is_what_can() -> None:
    asked = JobRequest("m", RecognitionOptions(prompt="a"), name="a.wav", metadata={"a": "b"}, face="oddasr")
    newer = json.loads(REQUESTS.encode(asked))
    newer["is"]["options"]["wish"] = newer["is"]["wish"] = 1
    assert readable(json.dumps(newer).encode(), "m") == replace(asked, options=RecognitionOptions())
    for damaged in (b"{", b'{"v":2,"is":{"model":"n"}}', b'{"v":1,"is":[]}', b'{"v":1,"is":{"name":1}}'):
        assert readable(damaged, "m") == JobRequest("m", RecognitionOptions())


@given(ASKED)
def test_terms_are_kept_apart_and_come_back(value: JobRequest) -> None:
    kept, options = encode_terms(value), value.options
    short = REQUESTS.decode(REQUESTS.encode(without_terms(value)))
    assert short == replace(value, options=replace(options, hotwords=(), masking=()))
    assert (kept is None) == (not options.hotwords and not options.masking)
    assert (short if kept is None else with_terms(short, kept)) == value


def test_what_an_older_version_did_not_know_has_its_default() -> None:
    assert HYPOTHESES.decode(b'{"v":1,"is":{"text":"a","language":"en","languages":{}}}') == Hypothesis("a", "en", {})


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"{",
        b"[1]",
        b"null",
        b"x\x9cnonsense",
        b'{"v":1}',
        b'{"v":1,"is":[]}',
        b'{"v":1,"is":{"text":"a"}}',
        b'{"v":1,"is":{"text":1,"language":"en","languages":{}}}',
        b'{"v":1,"is":{"text":"a","language":"en","languages":{"en":"much"}}}',
        b'{"v":1,"is":{"text":"a","language":"en","languages":{},"tokens":[true]}}',
        b'{"v":1,"is":{"text":"a","language":"en","languages":{},"words":[{"text":"a"}]}}',
        b'{"v":1,"is":{"text":"a","language":"en","languages":{},"logprobs":[{"token":"a","utf8":"%","logprob":0}]}}',
    ],
)
def test_damaged_bytes_are_told_without_what_is_in_them(kept: bytes) -> None:
    with pytest.raises(JobUnreadable) as caught:
        HYPOTHESES.decode(kept)
    assert caught.value.message == "What is kept of a job is damaged."
