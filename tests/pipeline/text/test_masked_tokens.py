"""Tokens and probabilities say nothing of a masked word, not even those that a word before it owns."""

from __future__ import annotations

from app.domain.masking import Masking
from app.domain.transcript import Segment, TokenLogprob, Word, join_words
from app.pipeline.text.masking import Masker

MASKER = Masker([Masking(("飞鸟",))])


def segment(*words: tuple[str, str], told: bool = True) -> Segment:
    """Words, each with what its tokens say, parted by "|"."""
    made: list[Word] = []
    tokens: list[int] = []
    logprobs: list[TokenLogprob] = []
    for number, (text, said) in enumerate(words):
        texts = said.split("|") if said else []
        ids = tuple(range(len(tokens), len(tokens) + len(texts)))
        made.append(Word(text, number / 2, number / 2 + 0.5, space_before=False, tokens=ids))
        tokens += ids
        logprobs += [TokenLogprob(token, token.encode(), -0.1) for token in texts]
    text = join_words(tuple(made))
    return Segment(0, len(words), text, tuple(made), tokens=tuple(tokens), logprobs=tuple(logprobs) if told else ())


def left(*segments: Segment) -> list[tuple[list[str], list[int], list[tuple[int, ...]]]]:
    """What each segment's probabilities, tokens and words' tokens are."""
    return [
        ([one.token for one in masked.logprobs], list(masked.tokens), [word.tokens for word in masked.words])
        for masked in MASKER.segments(segments)
    ]


def test_a_token_that_reaches_into_a_masked_word_goes_with_it() -> None:
    assert left(segment(("我", "我"), ("爱", "爱飞"), ("飞", ""), ("鸟", "鸟"))) == [(["我"], [0], [(0,), (), (), ()])]


def test_a_token_that_ends_before_it_stays() -> None:
    assert left(segment(("我", "我爱"), ("爱", ""), ("飞", "飞鸟"), ("鸟", ""))) == [
        (["我爱"], [0], [(0,), (), (), ()])
    ]
    assert left(segment(("我", "我"), ("爱", ""), ("飞", "飞鸟"), ("鸟", ""))) == [(["我"], [0], [(0,), (), (), ()])]


def test_where_nobody_knows_what_tokens_say_those_before_go() -> None:
    assert left(segment(("我", "我"), ("爱", "爱"), ("飞", "飞"), ("鸟", "鸟"), ("吗", "吗"), told=False)) == [
        ([], [0, 4], [(0,), (), (), (), (4,)])
    ]


def test_half_a_character_goes_with_its_other_half() -> None:
    masked = segment(("爱", "爱"), ("飞", "飞"), ("鸟", "鸟"))
    torn = TokenLogprob("爱\ufffd", "爱".encode() + "飞".encode()[:1], -0.1)
    (found,) = MASKER.segments(
        [Segment(0, 3, masked.text, masked.words, tokens=(0, 1, 2), logprobs=(torn, *masked.logprobs[1:]))]
    )
    assert (found.tokens, found.logprobs) == ((), ())


def test_a_token_at_the_end_of_a_segment_says_nothing_of_the_next() -> None:
    first, second = segment(("我", "我"), ("爱。", "爱|。飞")), segment(("飞", ""), ("鸟", "鸟"))
    assert left(first, second) == [(["我"], [0], [(0,), ()]), ([], [], [(), ()])]
    # A stream tells the first before anybody knows what the second says.
    assert left(first) == left(first, second)[:1]
    untold = segment(("我", "我"), ("爱。", "爱|。飞"), told=False), segment(("飞", ""), ("鸟", "鸟"), told=False)
    assert left(*untold) == [([], [0], [(0,), ()]), ([], [], [(), ()])]


def test_where_nothing_is_masked_all_tokens_stay() -> None:
    plain = segment(("我", "我爱"), ("爱", ""), ("鸟", "鸟"), ("飞。", "飞|。"))
    assert MASKER.segments([plain]) == [plain]
    untold = segment(("我", "我爱"), ("爱", ""), ("鸟", "鸟飞"), ("飞。", ""), told=False)
    assert MASKER.segments([untold]) == [untold]
