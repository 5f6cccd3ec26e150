"""Marks for live text with a model whose answers are known: what comes back of words that arrive in portions, what is
final of it, and what is seen across the pause between two portions."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from models.small_punctuation import write_live_punctuation, write_punctuation

from app.domain.errors import EngineFailure
from app.engines import ct_punc
from app.engines.ct_punc.live import Held, LivePunctuator, Marked
from app.engines.ct_punc.punctuator import CtPunctuator
from app.settings import Settings

TOKENS = ("好", "吗", "了", "请", "和", "ok", "hello", "啊", "改", "问")
AFTER = {"吗": "？", "了": "。", "和": "、", "ok": "，"}
BEFORE = {"请": "。"}
"""请 ends what is before it: a mark that is known only with the next word."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wherever 改 is seen there is 、; wherever 问 was heard before, ，."""
    at = tmp_path_factory.mktemp("punctuation") / "live"
    return write_live_punctuation(at, TOKENS, AFTER, BEFORE, seen={"改": "、"}, heard={"问": "，"})


@pytest.fixture(scope="module")
def live(folder: Path) -> LivePunctuator:
    return LivePunctuator("ct-punc-live", folder)


def said(live: LivePunctuator, *portions: Sequence[str]) -> list[str]:
    """For each portion, what is final now, a bar, and what is not, as text."""
    held, open_words, lines = Held(), list[str](), list[str]()
    for portion in portions:
        marked = live.marks(portion, held)
        words = [*open_words, *portion]
        assert len(marked.marks) == len(words)
        drawn = [word + mark for word, mark in zip(words, marked.marks, strict=True)]
        lines.append(" ".join(drawn[: marked.final]) + "|" + " ".join(drawn[marked.final :]))
        held, open_words = marked.held, words[marked.final :]
        assert len(held.words) == len(open_words)
    return lines


def test_an_unfinished_sentence_is_held_and_comes_again(live: LivePunctuator) -> None:
    assert said(live, ["好", "好"], ["好", "和", "好"], ["好", "了"], ["好", "好"]) == [
        "|好 好",
        "|好 好 好 和、 好",
        "|好 好 好 和、 好 好 了。",
        "好 好 好 和、 好 好 了。|好 好",
    ]


def test_the_mark_of_the_last_word_is_known_with_the_next_portion(live: LivePunctuator) -> None:
    assert said(live, ["好", "好", "啊"], ["请", "好"]) == ["|好 好 啊", "好 好 啊。|请 好"]


def test_no_end_is_forced(live: LivePunctuator) -> None:
    assert said(live, ["好"] * 30, ["好"]) == ["|" + " ".join(["好"] * 30), "|" + " ".join(["好"] * 31)]


def test_a_sentence_has_at_least_three_words(live: LivePunctuator) -> None:
    assert said(live, ["好", "了", "好"], ["好", "了", "好"]) == ["|好 了。 好", "好 了。 好 好 了。|好"]


def test_what_is_said_after_a_pause_is_seen_by_the_last_word_before_it_only(live: LivePunctuator) -> None:
    assert said(live, ["好", "好", "好"], ["好", "改"]) == ["|好 好 好", "|好 好 好、 好、 改、"]
    assert said(live, ["好", "好", "好", "好", "改"]) == ["|好、 好、 好、 好、 改、"]


def test_what_was_said_before_a_pause_is_heard_after_it(live: LivePunctuator) -> None:
    assert said(live, ["好", "问"], ["好"]) == ["|好 问，", "|好 问， 好，"]


def test_long_portions_are_gone_through_in_steps(live: LivePunctuator) -> None:
    # 20 words are looked at without the 21st, which would change them all
    words = ["好"] * 17 + ["了", "好", "好", "改"]
    assert said(live, words) == [" ".join(["好"] * 17 + ["了。"]) + "|好、 好、 改、"]


@pytest.mark.parametrize(("portions", "final"), [(11, 0), (12, 51)])
def test_a_sentence_of_more_than_two_hundred_words_ends_at_its_last_comma(
    live: LivePunctuator, portions: int, final: int
) -> None:
    held, marked = Held(), Marked((), 0, Held())
    for number in range(portions):
        marked = live.marks(["ok" if number == 2 and place == 10 else "好" for place in range(20)], held)
        held = marked.held
    assert (marked.final, marked.marks[50]) == (final, "。" if final else "，")


def test_what_is_held_does_not_grow_without_end(live: LivePunctuator) -> None:
    held, kept = Held(), list[int]()
    for _ in range(9):
        held = live.marks(["好"] * 100, held).held
        kept.append(len(held.words))
    assert kept == [100, 200, 300, 400, 200, 300, 400, 200, 300]


def test_words_of_several_tokens_and_of_none(live: LivePunctuator) -> None:
    assert said(live, [" ", "好好了", "", "好ok"], ["", "好吗好"], ["好"]) == [
        "  好好了。 |好ok，",
        "好ok， |好吗好",
        "|好吗好 好",
    ]


def test_a_sentence_may_end_inside_a_word(live: LivePunctuator) -> None:
    first = live.marks(["好", "好了好", "好"], Held())
    assert (first.marks, first.final) == (("", "", ""), 1)
    assert [len(word) for word in first.held.words] == [1, 1]


def test_nothing_changes_nothing(live: LivePunctuator) -> None:
    assert live.marks([], Held()) == Marked((), 0, Held())
    held = live.marks(["好", "和", "好"], Held()).held
    assert live.marks([], held) == Marked(("", "、", ""), 0, held)


@pytest.mark.parametrize("odd", ["\ud800", "👩\u200d👩", "é", "e\u0301", "\x00", "𠮷", "never-heard-of"])
def test_odd_characters_change_nothing_around_them(live: LivePunctuator, odd: str) -> None:
    assert live.marks(["好", "吗", odd, "了", "好"], Held()).marks == ("", "？", "", "。", "")


def test_sessions_do_not_disturb_each_other(live: LivePunctuator) -> None:
    chance = random.Random(4)
    sessions = [
        [[chance.choice(TOKENS) for _ in range(chance.randint(1, 30))] for _ in range(chance.randint(1, 6))]
        for _ in range(40)
    ]
    alone = [said(live, *session) for session in sessions]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda session: said(live, *session), sessions)) == alone


def test_what_it_says_of_itself(live: LivePunctuator, folder: Path) -> None:
    assert (live.id, live.languages) == ("ct-punc-live", {"zh", "en"})
    loaded = ct_punc.load_live("ct-punc-live", folder, Settings(_env_file=None))
    assert loaded.marks(["好", "了"], Held()) == live.marks(["好", "了"], Held())


# Folders that hold something else


def test_a_model_for_finished_text_is_none_for_live_text(tmp_path: Path) -> None:
    offline = write_punctuation(tmp_path / "offline", TOKENS, AFTER)
    with pytest.raises(EngineFailure, match="describes CTTransformer; CTTransformerStreaming is what is served"):
        LivePunctuator("ct-punc-live", offline)


def test_a_model_for_live_text_is_none_for_finished_text(folder: Path) -> None:
    with pytest.raises(EngineFailure, match="describes CTTransformerStreaming; CTTransformer is what is served"):
        CtPunctuator("ct-punc", folder)


def test_a_graph_without_masks_is_told(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "mixed")
    offline = write_punctuation(tmp_path / "offline", TOKENS, AFTER)
    shutil.copyfile(offline / "model.onnx", tmp_path / "mixed" / "model.onnx")
    with pytest.raises(EngineFailure) as failure:
        LivePunctuator("ct-punc-live", tmp_path / "mixed")
    expected = "inputs, text_lengths, vad_masks, sub_masks are expected."
    assert failure.value.message == f"model.onnx takes inputs, text_lengths where {expected}"


def test_a_missing_graph_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "broken")
    (tmp_path / "broken" / "model.onnx").unlink()
    with pytest.raises(EngineFailure, match=r"^model\.onnx is missing\.$"):
        LivePunctuator("ct-punc-live", tmp_path / "broken")
