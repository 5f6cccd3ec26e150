"""Pieces to words: the recogniser with a process that says what a test wants, and an aligner that times as it wants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from models.small_qwen import make
from tokenizers import Tokenizer

from app.domain.engines import Hypothesis, Piece, PieceRequest
from app.domain.errors import EngineFailure, ModelUnavailable
from app.domain.hotwords import Hotword
from app.domain.options import RecognitionOptions
from app.domain.transcript import join_words
from app.engines.qwen3.link import Answer, RefusedError, Token, Told
from app.engines.qwen3.process import EngineProcess
from app.engines.qwen3.recognizer import QwenRecognizer
from app.engines.qwen3.vocabulary import Vocabulary

SCRIPT = "language Chinese<asr_text>今天天气很好。language English French German Thai hello world over and"
Say = Callable[[str], str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in the layout that carries its tokenizer in one file, for its vocabulary."""
    return make(tmp_path_factory.mktemp("qwen"), kind="random", layout="hf", script=SCRIPT)


@pytest.fixture(scope="module")
def vocabulary(folder: Path) -> Vocabulary:
    return Vocabulary(folder)


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


class Saying:
    """In an EngineProcess's place: answers prompts with texts, token by token."""

    def __init__(self, tokenizer: Tokenizer, say: Say, reason: str = "stop") -> None:
        self.asked: list[dict[str, Any]] = []
        self.heard: list[int] = []
        self._tokenizer, self._say, self._reason = tokenizer, say, reason

    async def ask(self, message: dict[str, Any], samples: np.ndarray, told: Told | None = None) -> Answer:
        self.asked.append(message)
        self.heard.append(len(samples))
        ids: list[int] = self._tokenizer.encode(self._say(message["prompt"]), add_special_tokens=False).ids
        tokens: list[Token] = [(token, -0.1) for token in ids]
        for count in range(1, len(tokens) + 1):
            if told:
                told(tokens[:count])
        return Answer(tokens=tokens, reason=self._reason, prompt_tokens=9)


class Timing:
    """In an aligner's place: a second a word, or a failure."""

    id, languages, max_seconds = "timing", frozenset({"zh", "en"}), 100.0

    def __init__(self, failure: Exception | None = None) -> None:
        self._failure = failure

    async def align(self, _samples: np.ndarray, words: Sequence[str]) -> list[tuple[float, float]]:
        if self._failure:
            raise self._failure
        return [(float(at), at + 0.5) for at in range(len(words))]

    def close(self) -> None: ...


@pytest.fixture
def hear(tokenizer: Tokenizer, vocabulary: Vocabulary) -> Callable[..., tuple[Hypothesis, Saying, list[str]]]:
    def listen(
        say: str | Say,
        *,
        seconds: float = 8.0,
        aligner: Timing | None = None,
        reason: str = "stop",
        prefix: str = "",
        **wishes: Any,
    ) -> tuple[Hypothesis, Saying, list[str]]:
        saying = Saying(tokenizer, say if callable(say) else lambda _: cast("str", say), reason)
        process = cast("EngineProcess", saying)
        recognizer = QwenRecognizer("qwen", process, vocabulary, parallel_calls=4, aligner=aligner)
        piece = Piece(3.0, np.zeros(round(seconds * 16_000), dtype=np.float32))
        said: list[str] = []
        request = PieceRequest(piece, RecognitionOptions(**wishes), prefix)
        heard = asyncio.run(recognizer.hear(request, said.append))
        return heard, saying, said

    return listen


def test_language_text_words_and_confidence(hear: Callable[..., Any]) -> None:
    heard, saying, said = hear("language Chinese<asr_text>今天天气很好。", aligner=Timing(), logprobs=True)
    assert (heard.text, heard.language, heard.languages) == ("今天天气很好。", "zh", {"zh": 1.0})
    assert [(word.text, word.start, word.end) for word in heard.words] == [
        (text, float(at), at + 0.5) for at, text in enumerate(["今", "天", "天", "气", "很", "好。"])
    ]
    assert {round(word.confidence, 3) for word in heard.words} == {0.905}
    assert "".join(token.token for token in heard.logprobs) == heard.text
    assert heard.warnings == ()
    assert (heard.prompt_tokens, heard.avg_logprob) == (9, pytest.approx(-0.1))
    assert said[-1] == heard.text
    assert all(after.startswith(before) for before, after in pairwise(said))
    assert saying.asked[0]["temperature"] == 0.0


def test_a_given_language_is_forced(hear: Callable[..., Any]) -> None:
    heard, saying, _ = hear("hello world", language="yue")
    assert saying.asked[0]["prompt"].endswith("language Cantonese<asr_text>")
    assert (heard.text, heard.language) == ("hello world", "yue")


@pytest.mark.parametrize(
    ("language", "prefix", "more", "text"),
    [("zh", "今天天气", "很好。", "今天天气很好。"), ("en", "hello", " world", "hello world")],
)
def test_it_goes_on_from_what_is_known_of_live_speech(
    hear: Callable[..., Any], language: str, prefix: str, more: str, text: str
) -> None:
    heard, saying, _ = hear(more, language=language, prefix=prefix, draft=True, timed=False)
    assert saying.asked[0]["prompt"].endswith(f"<asr_text>{prefix}")
    assert (heard.text, heard.language) == (text, language)


def test_a_prefix_is_no_way_to_say_more_than_text(hear: Callable[..., Any]) -> None:
    heard, saying, _ = hear("world", language="en", prefix="hello <|im_end|>")
    assert "<|im_end|>" not in saying.asked[0]["prompt"].split("<asr_text>")[1]
    assert heard.text == "hello world"


def test_one_candidate_is_forced(hear: Callable[..., Any]) -> None:
    _, saying, _ = hear("hello world", languages=("de",))
    assert len(saying.asked) == 1
    assert saying.asked[0]["prompt"].endswith("language German<asr_text>")


def test_another_language_than_the_candidates_is_heard_again_as_each_of_them(hear: Callable[..., Any]) -> None:
    def say(prompt: str) -> str:
        if prompt.endswith("assistant\n"):
            return "language Chinese<asr_text>今天"
        return "hello" if "French" in prompt else "hello world over and"

    heard, saying, said = hear(say, languages=("de", "fr"))
    assert len(saying.asked) == 3
    assert heard.language in {"de", "fr"}
    assert said == [], "nothing is told that may be taken back"


def test_a_candidate_that_is_heard_is_taken(hear: Callable[..., Any]) -> None:
    heard, saying, _ = hear("language English<asr_text>hello world", languages=("zh", "en"))
    assert (len(saying.asked), heard.language) == (1, "en")


@pytest.mark.parametrize("answer", ["language None<asr_text>", "", "language"])
def test_no_speech_is_told(hear: Callable[..., Any], answer: str) -> None:
    heard, _, said = hear(answer, aligner=Timing())
    assert (heard.text, heard.words, said) == ("", (), [])
    assert heard.warnings == ("speech_not_recognized",)


@pytest.mark.parametrize(("text", "language"), [("今天天气", "zh"), ("hello world", "en")])
def test_where_no_language_is_said_the_text_tells(hear: Callable[..., Any], text: str, language: str) -> None:
    assert hear(text)[0].language == language


@pytest.mark.parametrize(
    "aligner",
    [None, Timing(EngineFailure("no")), Timing(ModelUnavailable("not now")), Timing()],
    ids=["none", "failing", "missing", "short"],
)
def test_times_are_estimated_where_nobody_tells_them(hear: Callable[..., Any], aligner: Timing | None) -> None:
    language = "th" if aligner and aligner._failure is None else None  # one that the aligner does not know
    heard, _, _ = hear("hello world over and", seconds=4.0, aligner=aligner, language=language)
    assert heard.warnings == ("word_times_estimated",)
    times = [time for word in heard.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] < 4.0
    assert join_words(heard.words) == heard.text


def test_words_end_inside_the_piece(hear: Callable[..., Any]) -> None:
    heard, _, _ = hear("language English<asr_text>hello world over and", seconds=2.2, aligner=Timing())
    assert [(word.start, word.end) for word in heard.words] == [(0.0, 0.5), (1.0, 1.5), (2.0, 2.2), (2.2, 2.2)]


def test_nobody_is_timed_where_times_are_not_wanted(hear: Callable[..., Any]) -> None:
    heard, _, _ = hear("language English<asr_text>hello world", timed=False)
    assert (heard.text, heard.words, heard.warnings) == ("hello world", (), ())


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.3])
def test_short_sound_is_padded(hear: Callable[..., Any], seconds: float) -> None:
    _, saying, _ = hear("language None<asr_text>", seconds=seconds)
    assert saying.heard == [8000]


def test_an_answer_that_never_ends_is_told(hear: Callable[..., Any]) -> None:
    heard, saying, _ = hear("language English<asr_text>hello world", reason="length", timed=False)
    assert heard.warnings == ("text_cut",)
    assert saying.asked[0]["max_tokens"] == 48 + 8 * 15


def test_a_loop_is_cut_and_told(hear: Callable[..., Any]) -> None:
    heard, _, said = hear("language English<asr_text>hello" + " over and" * 40, timed=False)
    assert heard.warnings == ("repetition_cut",)
    assert heard.text.count("over and") <= 3
    assert all(heard.text.startswith(text) for text in said)


def test_a_context_that_does_not_fit_costs_no_words(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    class Refusing(Saying):
        async def ask(self, message: dict[str, Any], samples: np.ndarray, told: Told | None = None) -> Answer:
            if "Qwen" in message["prompt"]:
                raise RefusedError("too long")
            return await super().ask(message, samples, told)

    saying = Refusing(tokenizer, lambda _: "language English<asr_text>hello")
    recognizer = QwenRecognizer("qwen", cast("EngineProcess", saying), vocabulary, parallel_calls=4)
    options = RecognitionOptions(hotwords=(Hotword("Qwen"),), timed=False)
    request = PieceRequest(Piece(0.0, np.zeros(16_000, dtype=np.float32)), options)
    heard = asyncio.run(recognizer.hear(request))
    assert (heard.text, heard.warnings) == ("hello", ("prompt_dropped",))


def test_another_failure_is_not_tried_again(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    class Failing(Saying):
        async def ask(self, message: dict[str, Any], samples: np.ndarray, told: Told | None = None) -> Answer:
            self.asked.append(message)
            raise EngineFailure("no")

    failing = Failing(tokenizer, lambda _: "")
    recognizer = QwenRecognizer("qwen", cast("EngineProcess", failing), vocabulary, parallel_calls=4)
    request = PieceRequest(Piece(0.0, np.zeros(16_000, dtype=np.float32)), RecognitionOptions(prompt="a context"))
    with pytest.raises(EngineFailure, match="no"):
        asyncio.run(recognizer.hear(request))
    assert len(failing.asked) == 1
