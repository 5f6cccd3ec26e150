"""What speakers are called in answers."""

from __future__ import annotations

import pytest

from app.domain.speakers import Speaker
from app.protocols.labels import lettered, numbered


@pytest.mark.parametrize(
    ("number", "english", "chinese", "letters"),
    [
        (0, "Speaker1", "说话人1", "A"),
        (1, "Speaker2", "说话人2", "B"),
        (9, "Speaker10", "说话人10", "J"),
        (25, "Speaker26", "说话人26", "Z"),
        (26, "Speaker27", "说话人27", "AA"),
        (27, "Speaker28", "说话人28", "AB"),
        (51, "Speaker52", "说话人52", "AZ"),
        (52, "Speaker53", "说话人53", "BA"),
        (701, "Speaker702", "说话人702", "ZZ"),
        (702, "Speaker703", "说话人703", "AAA"),
    ],
)
def test_speakers_without_a_name(number: int, english: str, chinese: str, letters: str) -> None:
    speaker = Speaker(number)
    assert (numbered("en")(speaker), numbered("zh")(speaker), lettered(speaker)) == (english, chinese, letters)


@pytest.mark.parametrize("name", ["Anna", "王小明", "客服", "a b", "Z"])
def test_a_name_is_kept_as_it_is(name: str) -> None:
    assert {label(Speaker(3, name)) for label in (numbered("en"), numbered("zh"), lettered)} == {name}


def test_no_two_speakers_are_called_the_same() -> None:
    for label in (numbered("en"), numbered("zh"), lettered):
        assert len({label(Speaker(number)) for number in range(2000)}) == 2000
