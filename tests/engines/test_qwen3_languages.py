"""Languages as Qwen3-ASR names them, and as callers do."""

from __future__ import annotations

import pytest

from app.engines.qwen3.languages import ALIGNED_LANGUAGES, LANGUAGES, begins_a_name, code_of, model_name
from app.protocols.languages import NAMES, language_code


def test_thirty_languages_have_one_name_each_and_back() -> None:
    assert len(LANGUAGES) == 30
    names = [model_name(code) or "" for code in LANGUAGES]
    assert len(set(names)) == 30
    assert {code_of(name) for name in names} == LANGUAGES
    assert ALIGNED_LANGUAGES < LANGUAGES
    assert len(ALIGNED_LANGUAGES) == 11


@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_callers_can_say_each_of_them_by_code_and_by_the_models_name(code: str) -> None:
    assert code in NAMES
    assert language_code(code, LANGUAGES) == code
    assert language_code(model_name(code) or "", LANGUAGES) == code


def test_filipino_is_known_under_all_its_codes() -> None:
    assert {language_code(said, LANGUAGES) for said in ("fil", "tl", "Filipino", "tagalog")} == {"tl"}
    assert model_name("tl") == "Filipino"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("Chinese", "zh"),
        (" chinese ", "zh"),
        ("Sichuan", "zh"),
        ("Shaanxi dialect", "zh"),
        ("Wu language", "zh"),
        ("Minnan  language", "zh"),
        ("Cantonese (Hong Kong accent)", "yue"),
        ("Cantonese (Guangdong accent)", "yue"),
        ("None", None),
        ("Klingon", None),
        ("language", None),
        ("", None),
    ],
)
def test_what_the_model_answers_is_a_code_or_none(said: str, code: str | None) -> None:
    assert code_of(said) == code


def test_a_language_the_model_does_not_know_has_no_name() -> None:
    assert model_name("xh") is None
    assert model_name("fil") is None


def test_the_beginning_of_a_name_is_told_from_other_words() -> None:
    assert begins_a_name("Engl")
    assert begins_a_name("None")
    assert begins_a_name("")
    assert not begins_a_name("English is")
    assert not begins_a_name("models")
