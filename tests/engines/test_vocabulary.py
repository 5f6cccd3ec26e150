"""Whisper's tokens by meaning: prompts, words, punctuation, and characters that take several tokens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from app.domain.errors import EngineFailure
from app.engines.whisper.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def tokenizer(models_dir: Path) -> Tokenizer:
    return Tokenizer.from_file(str(models_dir / "whisper-base" / "tokenizer.json"))


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def texts(vocabulary: Vocabulary, tokens: list[int], language: str) -> list[str]:
    return [word.text for word in vocabulary.words(tokens, language)]


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        (" Hello, world!", "en", ["Hello,", "world!"]),
        (" It's 3.5% of $2,000 (about half).", "en", ["It's", "3.5%", "of", "$2,000", "(about", "half)."]),
        (' He said "yes" and left...', "en", ["He", "said", '"yes"', "and", "left..."]),
        (" ¿Qué pasa? ¡Bien!", "es", ["¿Qué", "pasa?", "¡Bien!"]),
        (" unbelievably supercalifragilistic", "en", ["unbelievably", "supercalifragilistic"]),
        (" well-known half-open", "en", ["well-known", "half-open"]),
        (" Привет, мир", "ru", ["Привет,", "мир"]),
        ("欢迎体验。", "zh", ["欢", "迎", "体", "验。"]),
        ("他说：“走！”", "zh", ["他", "说：", "“走！”"]),
        ("用GPT4识别50%的", "zh", ["用", "GPT4", "识", "别", "50%", "的"]),
        ("", "en", []),
        (" ", "en", []),
    ],
)
def test_words_carry_their_punctuation(
    vocabulary: Vocabulary, tokenizer: Tokenizer, text: str, language: str, words: list[str]
) -> None:
    assert texts(vocabulary, encode(tokenizer, text), language) == words


@pytest.mark.parametrize(
    "text", [" Hello, world! It's fine.", "欢迎大家，来体验龘靐齉语音。", " Grüße 🎉 naïve", "안녕 하세요"]
)
@pytest.mark.parametrize("language", ["en", "zh", "ko"])
def test_words_cover_every_token_once_and_join_to_the_text(
    vocabulary: Vocabulary, tokenizer: Tokenizer, text: str, language: str
) -> None:
    tokens = encode(tokenizer, text)
    words = vocabulary.words(tokens, language)
    position = 0
    for word in words:
        assert word.first == position
        assert word.count >= 1
        position += word.count
    assert position == len(tokens)
    joined = "".join((" " if word.space_before else "") + word.text for word in words)
    assert joined.strip() == text.strip()


def test_a_blank_token_is_the_space_before_the_next_word(vocabulary: Vocabulary, tokenizer: Tokenizer) -> None:
    (blank,) = encode(tokenizer, " ")
    tokens = [*encode(tokenizer, " one"), blank, *encode(tokenizer, "two")]
    assert vocabulary.decode(tokens) == " one two"
    assert texts(vocabulary, tokens, "en") == ["one", "two"]


def test_a_blank_token_at_the_beginning_is_part_of_the_first_word(vocabulary: Vocabulary, tokenizer: Tokenizer) -> None:
    tokens = encode(tokenizer, " ") + encode(tokenizer, "one")
    assert sum(word.count for word in vocabulary.words(tokens, "en")) == len(tokens)


def test_a_prompt_is_written_in_the_tokens_the_model_was_trained_on(vocabulary: Vocabulary) -> None:
    context, _ = vocabulary.context("the time", ())
    assert len(context) == 3, "the start and two words, not four pieces"


def test_a_character_of_several_tokens_is_one_word(vocabulary: Vocabulary, tokenizer: Tokenizer) -> None:
    tokens = encode(tokenizer, "龘")
    assert len(tokens) > 1
    assert "\ufffd" in vocabulary.decode(tokens[:1])
    (word,) = vocabulary.words(tokens, "zh")
    assert (word.text, word.first, word.count) == ("龘", 0, len(tokens))


def test_the_bytes_of_tokens_join_to_the_text(vocabulary: Vocabulary, tokenizer: Tokenizer) -> None:
    text = " Grüße, 龘 and 🎉: naïve café!"
    assert b"".join(map(vocabulary.token_bytes, encode(tokenizer, text))).decode() == text


def test_text_that_ends_inside_a_character_is_still_shown(vocabulary: Vocabulary, tokenizer: Tokenizer) -> None:
    tokens = encode(tokenizer, "好龘")
    words = vocabulary.words(tokens[:-1], "zh")
    assert words[0].text.startswith("好")
    assert sum(word.count for word in words) == len(tokens) - 1


def test_special_tokens_are_no_text(vocabulary: Vocabulary, tokenizer: Tokenizer) -> None:
    spoken = encode(tokenizer, " Hello")
    start = vocabulary.start_sequence("en", "transcribe")
    assert vocabulary.text_tokens([*start, *spoken, vocabulary.end]) == spoken


def test_a_prompt_says_language_and_task(vocabulary: Vocabulary, tokenizer: Tokenizer) -> None:
    def names(tokens: list[int]) -> list[str]:
        return [tokenizer.id_to_token(token) for token in tokens]

    assert names(vocabulary.prompt([], "zh", "translate")) == [
        "<|startoftranscript|>",
        "<|zh|>",
        "<|translate|>",
        "<|notimestamps|>",
    ]
    context, truncated = vocabulary.context("Before that.", ("Ohm", "Volt"))
    assert not truncated
    assert names(context)[0] == "<|startofprev|>"
    assert vocabulary.decode(context).strip() == "Ohm, Volt. Before that."
    assert vocabulary.context("", ()) == ([], False)
    assert vocabulary.context("   ", ()) == ([], False)


def test_a_long_prompt_loses_its_beginning_and_says_so(vocabulary: Vocabulary) -> None:
    context, truncated = vocabulary.context("early " * 500 + "the very end", ("Ohm",))
    assert truncated
    assert len(context) <= 224
    text = vocabulary.decode(context)
    assert text.strip().startswith("Ohm.")
    assert text.endswith("the very end")


def test_of_thousands_of_hotwords_as_many_whole_ones_as_fit_are_shown(vocabulary: Vocabulary) -> None:
    context, _ = vocabulary.context("the end", tuple(f"term{index}" for index in range(5000)))
    assert 100 < len(context) <= 224
    shown = vocabulary.decode(context).strip()
    assert shown.startswith("term0, term1, ")
    assert re.fullmatch(r"(term\d+, )+term\d+\.( the end| end)?", shown)


def test_languages_are_codes(vocabulary: Vocabulary) -> None:
    assert {"en", "zh", "de", "ja"} <= vocabulary.languages
    assert len(vocabulary.languages) == 99


def test_another_models_files_are_refused(tmp_path: Path, models_dir: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((models_dir / "whisper-base" / "tokenizer.json").read_bytes())
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EngineFailure, match="languages"):
        Vocabulary(tmp_path)
