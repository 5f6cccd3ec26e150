"""Streams of text that is known while its piece is still heard: the whole application, the official SDK, and a
recogniser that says what the test makes it say."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from audio.making import wav
from openai import APIError, OpenAI
from openai_server import wait_until
from pipeline.stubs import ABLE, StubContinuousRecognizer, StubDetector, Talk, clock_pcm, named
from served import served
from service.house import House, furnished

from app.domain.engines import Capabilities
from app.domain.errors import EngineFailure
from app.main import create_app

FIRST, SECOND, THIRD = 0.5, 6.5, 12.5
"""Where the pieces of the house's sound begin."""
MIXING = replace(ABLE, languages=frozenset({"en", "zh", "yue", "ja"}), mixes_languages=True, logprobs=True)
EMPRESS = "那位皇后的頭髮很長,乾隆皇帝在乾清宮乾等。好吧,走!"
EMPRESS_WRITTEN = "那位皇后的头发很长，乾隆皇帝在乾清宫干等。好吧，走！"


class Listener:
    """A stream that the SDK reads, event by event, in a thread of its own."""

    def __init__(self, sdk: OpenAI, sound: Path, **fields: Any) -> None:
        self._ask = lambda: sdk.audio.transcriptions.create(
            file=sound, model="whisper-1", stream=True, **{"language": "en"} | fields
        )
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[Any] | None = None
        self._stream: Any = None
        self.event(0)  # asks

    def event(self, patience: float = 5.0) -> Any:
        """The next event; None if there is none yet, or none any more.

        Raises:
            APIError: the server ended the stream with an error.
        """
        self._pending = self._pending or self._thread.submit(self._next)
        try:
            event = self._pending.result(patience)
        except TimeoutError:
            return None
        self._pending = None
        return event

    def delta(self) -> str:
        """The text of the next event."""
        event = self.event()
        assert event is not None, "no delta came"
        assert event.type == "transcript.text.delta"
        return event.delta

    def is_quiet(self) -> bool:
        """Whether nothing comes."""
        return self.event(0.3) is None

    def rest(self) -> tuple[list[str], Any]:
        """The deltas that are still to come, and the last event."""
        deltas: list[str] = []
        while (event := self.event()).type == "transcript.text.delta":
            deltas.append(event.delta)
        return deltas, event

    def leave(self) -> None:
        """Hang up."""
        if self._stream is not None:
            self._stream.close()
        self._thread.shutdown(wait=False)

    def _next(self) -> Any:
        if self._stream is None:
            self._stream = self._ask()
        return next(self._stream, None)


@dataclass
class Live:
    """A server whose recogniser does as it is told."""

    house: House
    base: str
    recognizer: StubContinuousRecognizer
    sdk: OpenAI
    listeners: list[Listener] = field(default_factory=list)

    def listen(self, **fields: Any) -> Listener:
        """Send the house's sound, 16 s with speech in three places, and listen to what comes back."""
        self.listeners.append(Listener(self.sdk, self.house.sound, **fields))
        return self.listeners[-1]

    def talk(self, start: float = FIRST) -> Talk:
        """The piece that starts there, once the recogniser has it."""
        assert wait_until(lambda: start in self.recognizer.talks), "the recogniser never got this piece"
        return self.recognizer.talks[start]

    def active(self) -> int:
        """Requests in progress."""
        return httpx.get(f"{self.base}/health").json()["active_requests"]


Open = Callable[..., Live]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens a server: `able` is what its recogniser can do, `pieces` how much of the speech is found."""
    house = furnished(tmp_path, monkeypatch)
    with ExitStack() as stack:
        yield lambda *able, pieces=3: stack.enter_context(_living(house, *able, pieces=pieces))
    assert list(house.temp.iterdir()) == [], "an upload was left behind"


@contextmanager
def _living(house: House, able: Capabilities = ABLE, pieces: int = 3) -> Iterator[Live]:
    recognizer = StubContinuousRecognizer(id="whisper-base", capabilities=able)
    house.recognizer = recognizer  # type: ignore[assignment]
    house.detector = StubDetector(house.detector.spans[:pieces])
    with served(create_app(house.settings()), lifespan="on") as port:
        base = f"http://127.0.0.1:{port}"
        assert wait_until(lambda: httpx.get(f"{base}/health/ready").status_code == 200, 20)
        with OpenAI(base_url=f"{base}/v1", api_key="any", max_retries=0, timeout=10) as sdk:
            live = Live(house, base, recognizer, sdk)
            try:
                yield live
                assert wait_until(lambda: live.active() == 0), "a request did not end"
            finally:
                for talk in recognizer.talks.values():
                    talk.fail(EngineFailure("the test has ended"))
                for listener in live.listeners:
                    listener.leave()


# --- one piece --------------------------------------------------------------------------------------------------------


def test_text_comes_while_its_piece_is_still_heard(opened: Open) -> None:
    live = opened(pieces=1)
    listener = live.listen()
    talk = live.talk()
    talk.say("Hello")
    assert listener.delta() == "Hello"
    talk.say("Hello there, wor")
    assert listener.delta() == " there, wor"
    assert listener.is_quiet()
    talk.end("Hello there, world.")
    deltas, done = listener.rest()
    assert deltas == ["ld."]
    assert done.type == "transcript.text.done"
    assert done.text == "Hello there, world."


def test_many_words_at_once_are_few_events(opened: Open) -> None:
    live = opened(pieces=1)
    listener = live.listen()
    talk, words, begun = live.talk(), [f"w{number}" for number in range(500)], time.monotonic()
    for count in range(1, len(words) + 1):
        talk.say(" ".join(words[:count]))
        time.sleep(0.001)
    talk.end(" ".join(words))
    deltas, done = listener.rest()
    assert "".join(deltas) == done.text == " ".join(words)
    assert 3 <= len(deltas) <= (time.monotonic() - begun) / 0.05 + 2


def test_spaces_at_the_end_wait_for_what_follows(opened: Open) -> None:
    live = opened(pieces=1)
    listener = live.listen()
    live.talk().say("Hello ")
    assert listener.delta() == "Hello"
    live.talk().end("Hello")
    assert listener.rest()[1].text == "Hello"


def test_silence_has_no_deltas(opened: Open) -> None:
    live = opened(pieces=0)
    deltas, done = live.listen().rest()
    assert (deltas, done.text) == ([], "")


def test_a_piece_in_which_nothing_is_heard(opened: Open) -> None:
    live = opened(pieces=2)
    listener = live.listen()
    live.talk(FIRST).end("")
    live.talk(SECOND).say("Hi")
    assert listener.delta() == "Hi", "no space before the first word"
    live.talk(SECOND).end("Hi.")
    assert listener.rest()[1].text == "Hi."


# --- several pieces ---------------------------------------------------------------------------------------------------


def test_pieces_that_end_out_of_order_are_told_in_order(opened: Open) -> None:
    live = opened()
    listener = live.listen()
    first, second, third = (live.talk(start) for start in (FIRST, SECOND, THIRD))
    third.say("And")
    second.end("The second.")
    assert listener.is_quiet(), "nothing of the later ones before the first"
    first.say("The")
    assert listener.delta() == "The"
    third.say("And the third")
    assert listener.is_quiet()
    first.end("The first.")
    heard = "The"
    while heard != "The first. The second. And the third":  # those that had to wait go out at once
        heard += listener.delta()
    third.end("And the third.")
    deltas, done = listener.rest()
    assert heard + "".join(deltas) == done.text == "The first. The second. And the third."


def test_a_stream_says_what_the_whole_answer_says(opened: Open) -> None:
    live = opened()
    texts = {FIRST: "你好", SECOND: "世界。", THIRD: "Good bye."}
    with ThreadPoolExecutor(1) as thread:
        whole = thread.submit(
            live.sdk.audio.transcriptions.create, file=live.house.sound, model="whisper-1", language="zh"
        )
        for start, text in texts.items():
            live.talk(start).end(text)
        expected = whole.result(10).text
    live.recognizer.talks.clear()
    listener = live.listen(language="zh")
    for start, text in texts.items():
        live.talk(start).say(text)
        live.talk(start).end(text)
    deltas, done = listener.rest()
    assert "".join(deltas) == done.text == expected == "你好 世界。Good bye."


def test_what_may_be_heard_again_is_not_told_early(opened: Open) -> None:
    live = opened(ABLE)  # which holds a recording to one language, here not known yet
    listener = live.listen(language=None)
    for start in (FIRST, SECOND, THIRD):
        live.talk(start).say("Hello all who listen")
    assert listener.is_quiet()
    for start in (FIRST, SECOND, THIRD):
        live.talk(start).end("Hello all who listen.", "en")
    deltas, done = listener.rest()
    assert "".join(deltas) == done.text == "Hello all who listen. Hello all who listen. Hello all who listen."


def test_the_only_piece_settles_the_language_and_is_told_early(opened: Open) -> None:
    live = opened(ABLE, pieces=1)
    listener = live.listen(language=None)
    live.talk().say("Hello all who listen")
    assert listener.delta() == "Hello all w", "what could still change, were it Chinese, is held back"
    live.talk().end("Hello all who listen.", "en")
    assert listener.rest()[1].text == "Hello all who listen."
    assert list(live.recognizer.talks) == [FIRST]


# --- how Chinese is written -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "heard_in", "written"),
    [
        ("zh", "zh", EMPRESS_WRITTEN),
        (None, "zh", EMPRESS_WRITTEN),
        (None, "yue", EMPRESS),
        ("yue", "yue", EMPRESS),
    ],
)
def test_chinese_is_told_as_it_will_be_written(opened: Open, asked: str | None, heard_in: str, written: str) -> None:
    live = opened(MIXING, pieces=1)
    listener = live.listen(language=asked)
    for count in range(1, len(EMPRESS) + 1, 2):
        live.talk().say(EMPRESS[:count])
        time.sleep(0.06)
    live.talk().end(EMPRESS, heard_in)
    deltas, done = listener.rest()
    assert "".join(deltas) == done.text == written
    # As long as it may or may not be Chinese, the first character that has two forms keeps back the rest.
    assert len(deltas) > (5 if asked else 1)


def test_simplified_chinese_is_told_early_though_the_language_is_not_known(opened: Open) -> None:
    live = opened(MIXING, pieces=1)
    listener = live.listen(language=None)
    live.talk().say("今天天气很好，我们去公园散步吧")
    assert listener.delta() == "今天天气很好"
    live.talk().end("今天天气很好，我们去公园散步吧。", "zh")
    assert listener.rest()[1].text == "今天天气很好，我们去公园散步吧。"


# --- text that is rewritten, figures that belong to segments ----------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "written"),
    [
        ({"punctuation": False}, "Hello there world"),
        ({"hotwords": "Hallo"}, "Hello there, world."),
    ],
)
def test_text_that_will_be_rewritten_waits_for_its_piece(opened: Open, fields: dict[str, Any], written: str) -> None:
    live = opened(pieces=1)
    listener = live.listen(extra_body=fields)
    live.talk().say("Hello there, world")
    assert listener.is_quiet()
    live.talk().end("Hello there, world.")
    deltas, done = listener.rest()
    assert "".join(deltas) == done.text == written


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": "diarized_json"},
        {"include": ["logprobs"]},
    ],
)
def test_where_figures_belong_to_segments_each_delta_is_one(opened: Open, fields: dict[str, Any]) -> None:
    live = opened(MIXING, pieces=2)
    listener = live.listen(**fields)
    talks = [live.talk(FIRST), live.talk(SECOND)]
    talks[0].say("Hello there, wor")
    assert listener.is_quiet()
    for talk in talks:
        talk.end("Hello there, world.")
    events = [listener.event()]
    while events[-1].type != "transcript.text.done":
        events.append(listener.event())
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert deltas == ["Hello there, world.", " Hello there, world."]


def test_channels_that_are_kept_apart_are_told_by_segments(opened: Open) -> None:
    live = opened(pieces=2)
    live.recognizer.hears = named
    left = clock_pcm(16.0)
    wav(live.house.sound, np.stack([left, -left], axis=1))
    deltas, done = live.listen(extra_body={"channel_split": True}).rest()
    assert deltas == ["0.5", " 0.5", " 6.5", " 6.5"]
    assert done.text == "".join(deltas)
    assert not any(talk.followed for talk in live.recognizer.talks.values())


# --- ends -------------------------------------------------------------------------------------------------------------


def test_a_failure_is_the_last_event(opened: Open) -> None:
    live = opened(pieces=2)
    listener = live.listen()
    live.talk(SECOND).say("never told")
    live.talk(FIRST).say("Hello")
    assert listener.delta() == "Hello"
    live.talk(FIRST).fail(EngineFailure("The recogniser stumbled."))
    with pytest.raises(APIError, match="stumbled"):
        listener.event()
    assert wait_until(lambda: live.talk(SECOND).cancelled), "the rest is not recognised for nothing"


def test_who_leaves_ends_the_work(opened: Open) -> None:
    live = opened(pieces=2)
    listener = live.listen()
    talks = [live.talk(FIRST), live.talk(SECOND)]
    talks[0].say("Hello")
    assert listener.delta() == "Hello"
    listener.leave()
    assert wait_until(lambda: all(talk.cancelled for talk in talks))
    assert wait_until(lambda: live.active() == 0)


def test_a_promise_that_was_broken_is_mended_at_the_end(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    live = opened(pieces=2)
    listener = live.listen()
    live.talk(FIRST).say("Hello")
    assert listener.delta() == "Hello"
    with caplog.at_level(logging.ERROR):
        live.talk(FIRST).end("Yellow.")
        live.talk(SECOND).end("Pages.")
        deltas, done = listener.rest()
    assert (deltas, done.text) == ([], "Yellow. Pages.")
    assert "add up" in caplog.text
    assert "ellow" not in caplog.text, "what people say is not for the log"


def test_health_tells_of_a_recogniser_that_is_started_again(opened: Open) -> None:
    """Load balancers are to send others elsewhere meanwhile."""
    live = opened()
    live.recognizer.available = False
    ready = httpx.get(f"{live.base}/health/ready")
    assert (ready.status_code, ready.json()["reason"]) == (503, "whisper-base is being started again.")
    assert httpx.get(f"{live.base}/health").json()["memory"][0]["state"] == "restarting"
    live.recognizer.available = True
    assert httpx.get(f"{live.base}/health/ready").status_code == 200
    assert httpx.get(f"{live.base}/health").json()["memory"][0]["state"] == "loaded"
