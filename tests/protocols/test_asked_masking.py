"""Words to mask, from a request and from stored lists: counted together, and read where nobody waits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from openai_server import FakeService

from app.domain.errors import InvalidParameter, UnknownVocabulary
from app.domain.hotwords import Hotword
from app.domain.masking import Masking
from app.pipeline.text.masking import Masker
from app.protocols import asked_masking
from app.protocols.asked_masking import said_masking
from app.settings import Settings

OWNER = "owner"


def masking_of(
    tmp_path: Path, said: list[str], *stored: list[str], most: int = 10_000, elsewhere: bool = False
) -> tuple[Masking, ...]:
    """What is masked for a request that says `said` and, there or `elsewhere`, the ids of the lists `stored`."""
    folders = {"temp_dir": tmp_path, "data_dir": tmp_path / "data"}
    service = FakeService(Settings(_env_file=None, max_hotwords=most, **folders))

    async def main() -> tuple[Masking, ...]:
        ids: list[str] = []
        for number, words in enumerate(stored):
            kept = [Hotword(word) for word in words]
            ids.append((await service.vocabularies.create(OWNER, f"list {number}", kept, kind="sensitive")).id)
        inside, lists = ([], ids) if elsewhere else (ids, [])
        try:
            return await said_masking([*said, *inside], None, service, OWNER, param="words", lists=lists)
        finally:
            service._fetcher.close()
            await service.voices.close()
            await service.vocabularies.close()

    return asyncio.run(main())


@pytest.mark.parametrize("elsewhere", [False, True])
def test_as_many_words_together_as_there_may_be(tmp_path: Path, elsewhere: bool) -> None:
    found = masking_of(tmp_path, ["甲"], ["甲", "乙"], ["乙", "丙"], most=3, elsewhere=elsewhere)
    assert found == (Masking(("甲", "乙", "丙")),)


def test_terms_that_overlap_are_masked_wherever_they_came_from(tmp_path: Path) -> None:
    assert Masker(masking_of(tmp_path, ["飞鸟"], ["鸟计划"], ["划书"])).text("飞鸟计划书") == "*****"


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("said", [["丁"], []])
def test_a_word_too_many_in_several_lists(tmp_path: Path, elsewhere: bool, said: list[str]) -> None:
    stored = [["甲", "乙", "丙"], ["甲", "丙"]] if said else [["甲", "乙"], ["乙", "丙"], ["丁"]]
    with pytest.raises(InvalidParameter, match="more than 3 sensitive words together"):
        masking_of(tmp_path, said, *stored, most=3, elsewhere=elsewhere)


def test_nothing_is_parted_or_read_where_others_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    def noting(usual: Callable[..., object]) -> Callable[..., object]:
        def noted(*said: object, **named: object) -> object:
            threads.append(threading.current_thread())
            return usual(*said, **named)

        return noted

    for name in ("split_terms", "read_terms"):
        monkeypatch.setattr(asked_masking, name, noting(getattr(asked_masking, name)))
    assert masking_of(tmp_path, ["飞鸟, x"]) == (Masking(("飞鸟", "x")),)
    assert len(threads) == 2
    assert threading.main_thread() not in threads


def test_terms_that_look_like_ids_are_parted_from_others_in_one_go(tmp_path: Path) -> None:
    """Nobody has these lists; forty thousand, each looked for among all the others, would take a minute."""
    said = ",".join(f"vocab_{number}" for number in range(40_000))
    began = time.monotonic()
    with pytest.raises(UnknownVocabulary):
        masking_of(tmp_path, [said])
    assert time.monotonic() - began < 5
