"""Real recordings through the real server with the real SDK: are the words right, and the language, and the times?"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from .conftest import Listen
from .scoring import character_errors, characters, is_simplified, plain, stm_lines, word_error_rate

EN_EXAMPLE = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
ZH_EXAMPLE = "欢迎大家来体验达摩院推出的语音识别模型"


def listed(shared_audio: Path, about: str) -> tuple[Path, str]:
    """The recording whose line in the manifest contains `about`, and what is said in it."""
    lines = (shared_audio / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    name, _, text, _ = next(line.split("\t") for line in lines if about in line)
    return shared_audio / name, text


def check_words(answer: dict[str, Any]) -> None:
    """Word times are in order, inside the recording and its segments, never empty; the words are the text."""
    words, segments = answer["words"], answer["segments"]
    assert words
    for word in words:
        assert 0 <= word["start"] < word["end"] <= answer["duration"] + 0.001, word
        assert any(s["start"] - 0.001 <= word["start"] and word["end"] <= s["end"] + 0.001 for s in segments), word
    for before, after in itertools.pairwise(words):
        assert before["end"] <= after["start"] + 0.001
    for before, after in itertools.pairwise(segments):
        assert before["end"] <= after["start"] + 0.001
    assert characters("".join(word["word"] for word in words)) == characters(answer["text"])
    assert characters("".join(segment["text"] for segment in segments)) == characters(answer["text"])


def test_english_speech_is_word_perfect(shared_audio: Path, listen: Listen) -> None:
    answer = listen(shared_audio / "en_jfk.flac")
    assert plain(answer["text"]) == EN_EXAMPLE
    assert answer["language"] == "english"
    assert answer["languages"] == [{"code": "en"}]
    assert answer["task"] == "transcribe"
    assert answer["duration"] == pytest.approx(11.0, abs=0.01)


def test_words_of_english_speech_have_times(shared_audio: Path, listen: Listen) -> None:
    answer = listen(shared_audio / "en_jfk.flac")
    check_words(answer)
    words = answer["words"]
    assert [word["word"].lower() for word in words] == EN_EXAMPLE.split()
    # The speech lies between 0.3 s and 10.6 s; the speaker pauses after "Americans".
    assert words[0]["start"] == pytest.approx(0.35, abs=0.2)
    assert words[-1]["end"] == pytest.approx(10.5, abs=0.3)
    assert words[4]["end"] < 2.6
    assert 3.0 < words[5]["start"] < 3.6


def test_a_noisy_studio_recording_in_stereo_is_understood(shared_audio: Path, listen: Listen) -> None:
    path, spoken = listed(shared_audio, "44.1 kHz stereo")
    answer = listen(path)
    rate = word_error_rate(spoken, answer["text"].replace("10", "ten"))
    print(f"word error rate {rate:.3f}")
    assert rate <= 0.15
    assert answer["language"] == "english"
    check_words(answer)


def test_chinese_speech_is_right_but_for_one_character_and_simplified(shared_audio: Path, listen: Listen) -> None:
    answer = listen(shared_audio / "zh_asr_example.wav")
    assert character_errors(ZH_EXAMPLE, answer["text"]) <= 1, answer["text"]
    assert is_simplified(answer["text"])
    assert answer["language"] == "chinese"
    check_words(answer)
    lengths = [len(word["word"]) for word in answer["words"]]
    assert sum(lengths) / len(lengths) < 1.3, "Chinese is timed by the character, save where one token holds two"


@pytest.mark.parametrize(("name", "most"), [("zh_aishell_mid.wav", 3), ("zh_aishell_long.wav", 8)])
def test_more_chinese_speech_is_mostly_right(shared_audio: Path, listen: Listen, name: str, most: int) -> None:
    path, spoken = listed(shared_audio, name)
    answer = listen(path)
    wrong = character_errors(spoken, answer["text"].replace("50%", "百分之五十"))
    print(f"{name}: {wrong} of {len(spoken)} characters wrong: {answer['text']}")
    assert wrong <= most
    assert is_simplified(answer["text"])
    assert answer["language"] == "chinese"
    check_words(answer)


def test_a_phone_call_is_understood(phone_call: Path, listen: Listen) -> None:
    answer = listen(phone_call / "sample.wav")
    lines = stm_lines(phone_call / "sample.stm")
    rate = word_error_rate(" ".join(words for _, _, words in lines), answer["text"])
    print(f"word error rate of the phone call: {rate:.3f}")
    assert rate <= 0.35
    assert answer["language"] == "english"
    assert answer["duration"] == pytest.approx(30.0, abs=0.01)


def test_words_of_a_phone_call_have_times_within_its_speech(phone_call: Path, listen: Listen) -> None:
    answer = listen(phone_call / "sample.wav")
    check_words(answer)
    lines = stm_lines(phone_call / "sample.stm")
    assert answer["words"][0]["start"] == pytest.approx(lines[0][0], abs=0.3)
    assert answer["words"][-1]["end"] == pytest.approx(lines[-1][1], abs=0.4)


def test_words_of_a_phone_call_are_timed_as_its_annotation_says(phone_call: Path, listen: Listen) -> None:
    answer = listen(phone_call / "sample.wav")
    lines = stm_lines(phone_call / "sample.stm")
    said = Counter(plain(word) for _, _, text in lines for word in text.split())
    heard = Counter(plain(word["word"]) for word in answer["words"])
    starts = {plain(word["word"]): word["start"] for word in answer["words"]}
    # Words said once and heard once, each first in its line: its start is annotated.
    firsts = {plain(text.split()[0]): start for start, _, text in lines}
    anchors = [word for word in ("neither", "this", "well") if said[word] == heard[word] == 1]
    assert len(anchors) >= 2, "which words a processor's arithmetic hears differs a little, but not that much"
    for word in anchors:
        assert starts[word] == pytest.approx(firsts[word], abs=0.35), word


def test_figures_of_a_segment_are_the_recognisers(phone_call: Path, listen: Listen) -> None:
    for segment in listen(phone_call / "sample.wav")["segments"]:
        assert segment["avg_logprob"] < 0
        assert 0 <= segment["no_speech_prob"] <= 1
        assert segment["compression_ratio"] > 0
        assert segment["tokens"]
        assert segment["seek"] == pytest.approx(segment["start"] * 100, abs=1.01)


def test_a_language_hint_is_honoured(shared_audio: Path, listen: Listen) -> None:
    hinted = listen(shared_audio / "en_jfk.flac", language="en")
    assert plain(hinted["text"]) == EN_EXAMPLE
    other = listen(shared_audio / "zh_asr_example.wav", language="en")
    assert other["language"] == "english"
    assert len(other["text"].split()) >= 5
    assert not re.search("[\u4e00-\u9fff]", other["text"])


def test_candidate_languages_restrict_detection(shared_audio: Path, sdk: OpenAI) -> None:
    answer = sdk.audio.transcriptions.create(
        file=shared_audio / "zh_asr_example.wav",
        model="whisper-1",
        response_format="verbose_json",
        languages=["en", "zh"],
    )
    assert answer.language == "chinese"
    assert character_errors(ZH_EXAMPLE, answer.text) <= 1


@pytest.mark.filterwarnings("ignore:deprecated")  # the SDK marks translations so
def test_chinese_is_translated_into_english_letters(shared_audio: Path, sdk: OpenAI) -> None:
    answer = sdk.audio.translations.create(
        file=shared_audio / "zh_asr_example.wav", model="whisper-1", response_format="verbose_json"
    )
    assert answer.language == "english"
    assert len(answer.text.split()) >= 5
    assert not re.search("[\u4e00-\u9fff]", answer.text)
