"""Whisper itself: neighbours in a batch do not matter, wishes do."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.domain.engines import Hypothesis, Piece, PieceRequest
from app.domain.errors import EngineFailure
from app.domain.options import RecognitionOptions
from app.engines.whisper.recognizer import WhisperRecognizer

RATE = 16_000
AUTO = RecognitionOptions()
ENGLISH = RecognitionOptions(language="en", logprobs=True)


def ask(call: np.ndarray, start: float, end: float, options: RecognitionOptions = AUTO) -> PieceRequest:
    return PieceRequest(Piece(start, call[round(start * RATE) : round(end * RATE)]), options)


def heard(hypothesis: Hypothesis) -> tuple[object, ...]:
    return (
        hypothesis.text,
        hypothesis.language,
        hypothesis.tokens,
        [(word.text, word.start) for word in hypothesis.words],
    )


def test_a_mixed_batch_hears_what_each_piece_says_alone(whisper: WhisperRecognizer, call: np.ndarray) -> None:
    batch = [
        ask(call, 6.2, 9.9),
        ask(call, 10.6, 17.9, ENGLISH),
        ask(call, 17.9, 21.7, RecognitionOptions(timed=False)),
        ask(call, 17.9, 21.7, RecognitionOptions(language="de")),
    ]
    assert len({whisper.batch_key(asked) for asked in batch}) == 1, "these may meet in one call"
    together = whisper.recognize(batch)
    alone = [whisper.recognize([asked])[0] for asked in batch]
    assert [heard(one) for one in together] == [heard(one) for one in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.avg_logprob == pytest.approx(other.avg_logprob, abs=1e-3)
        assert one.languages == pytest.approx(other.languages, abs=1e-3)


def test_what_may_not_share_a_call_has_another_key(whisper: WhisperRecognizer, call: np.ndarray) -> None:
    short, long = ask(call, 0, 14.7), ask(call, 0, 14.9)
    assert whisper.batch_key(short) != whisper.batch_key(long)
    assert (whisper.cost(short), whisper.cost(long)) == (15.0, 30.0)
    prompted = replace(short, options=RecognitionOptions(prompt="Something said before."))
    sampled = replace(short, options=RecognitionOptions(temperature=0.5))
    assert len({whisper.batch_key(asked) for asked in (short, prompted, sampled)}) == 3


def test_the_long_window_hears_what_is_past_the_short_one(whisper: WhisperRecognizer, call: np.ndarray) -> None:
    (hypothesis,) = whisper.recognize([ask(call, 6.2, 28.6)])
    assert hypothesis.audio_tokens == 1500
    assert hypothesis.words[-1].end == pytest.approx(28.4 - 6.2, abs=1.0)
    assert len(hypothesis.words) > 50
    (short,) = whisper.recognize([ask(call, 6.2, 14.2)])
    assert short.audio_tokens == 750
    assert hypothesis.text.lower().startswith(short.text.lower()[:12])


def test_a_hypothesis_is_complete(whisper: WhisperRecognizer, call: np.ndarray) -> None:
    (hypothesis,) = whisper.recognize([ask(call, 12.5, 17.9, ENGLISH)])
    assert "jersey" in hypothesis.text.lower()
    assert [token for word in hypothesis.words for token in word.tokens] == list(hypothesis.tokens)
    assert len(hypothesis.logprobs) == len(hypothesis.tokens)
    assert "".join(token.token for token in hypothesis.logprobs).strip() == hypothesis.text
    assert all(token.logprob <= 0 for token in hypothesis.logprobs)
    assert all(word.confidence is not None and 0 < word.confidence <= 1 for word in hypothesis.words)
    for before, after in itertools.pairwise(hypothesis.words):
        assert before.start < before.end <= after.start
    assert hypothesis.words[-1].end <= 5.4
    assert hypothesis.avg_logprob is not None
    assert -1 < hypothesis.avg_logprob < 0
    assert hypothesis.languages == {"en": 1.0}


def test_times_and_logprobs_cost_nothing_when_nobody_asks(whisper: WhisperRecognizer, call: np.ndarray) -> None:
    (hypothesis,) = whisper.recognize([ask(call, 12.5, 14.4, RecognitionOptions(language="en", timed=False))])
    assert hypothesis.text
    assert hypothesis.words == ()
    assert hypothesis.logprobs == ()


def test_the_language_is_detected_among_all_or_the_candidates(whisper: WhisperRecognizer, call: np.ndarray) -> None:
    free, bound = whisper.recognize(
        [ask(call, 12.5, 17.9), ask(call, 12.5, 17.9, RecognitionOptions(languages=("de", "fr")))]
    )
    assert free.language == "en"
    assert free.languages["en"] > 0.5
    assert len(free.languages) == 99
    assert bound.language in {"de", "fr"}
    assert set(bound.languages) == {"de", "fr"}
    for hypothesis in (free, bound):
        assert sum(hypothesis.languages.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("content", [{}, {"model.bin": b"no model", "config.json": b"{}"}])
def test_a_folder_that_is_not_a_whisper_is_an_engine_failure(tmp_path: Path, content: dict[str, bytes]) -> None:
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(EngineFailure, match="stranger could not be loaded"):
        WhisperRecognizer("stranger", tmp_path, threads=1)


def test_a_whisper_without_its_vocabulary_is_an_engine_failure(tmp_path: Path, models_dir: Path) -> None:
    for name in ("model.bin", "config.json", "vocabulary.txt"):
        (tmp_path / name).symlink_to(models_dir / "whisper-base" / name)
    with pytest.raises(EngineFailure):
        WhisperRecognizer("bare", tmp_path, threads=1)
