"""Lists of terms: how they part, and how long they may be."""

from __future__ import annotations

import pytest

from app.domain.errors import InvalidParameter
from app.pipeline.text import terms
from app.pipeline.text.terms import read_terms, split_terms


@pytest.mark.parametrize("said", ["a，b、c;d\r\n\r\ne", "a,,b,\n c \n;d；e", '["a", "b", "c", "d", "e"]'])
def test_how_terms_part(said: str) -> None:
    assert read_terms(split_terms(said, param="words", most=5), param="words", most=5) == ("a", "b", "c", "d", "e")


@pytest.mark.parametrize("said", ["a," * 100_000, "a\n" * 100_000, "[" + '"a",' * 100_000 + '"a"]'])
def test_far_too_many_are_not_parted(said: str) -> None:
    with pytest.raises(InvalidParameter, match="words: far more terms") as caught:
        split_terms(said, param="words", most=50)
    assert caught.value.param == "words"


def test_far_too_many_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []
    monkeypatch.setattr(terms, "units_of", looked_at.append)
    with pytest.raises(InvalidParameter, match="far more terms"):
        read_terms(["a"] * 100_000, param="words", most=50)
    assert looked_at == []


def test_terms_may_repeat() -> None:
    assert read_terms(["Falcon", "falcon"] * 100, param="words", most=1) == ("Falcon",)
