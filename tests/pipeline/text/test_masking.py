"""Sensitive terms in texts and transcripts: found however they are written, and gone without a trace."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.hotwords import HotwordHit
from app.domain.masking import Masking, MaskingStyle
from app.domain.transcript import Segment, TokenLogprob, Transcript, Word, join_texts, join_words
from app.pipeline.chinese import ChineseWriting
from app.pipeline.text.finding import TermFinder
from app.pipeline.text.masking import Masker
from pipeline.text.masks import mask_text, masked

CHINESE = ChineseWriting()


def stars(text: str, *terms: str) -> str:
    return mask_text(text, [Masking(terms)])


def without(text: str, *terms: str) -> str:
    return mask_text(text, [Masking(terms, "remove")])


def words_of(text: str, start: float = 0.0) -> tuple[Word, ...]:
    """A word for each Chinese character or stretch between spaces, marks attached: half a second each, with a token."""
    parts: list[tuple[str, bool]] = []
    for place, sign in enumerate(text):
        if sign == " ":
            continue
        fresh = place == 0 or text[place - 1] == " "
        wide = "\u4e00" <= sign <= "\u9fff"
        if fresh or wide:
            parts.append((sign, fresh and place > 0))
        else:
            parts[-1] = (parts[-1][0] + sign, parts[-1][1])
    return tuple(
        Word(part, start + number / 2, start + number / 2 + 0.5, space_before=space, tokens=(number,))
        for number, (part, space) in enumerate(parts)
    )


def segment(text: str, start: float = 0.0) -> Segment:
    words = words_of(text, start)
    assert join_words(words) == text
    logprobs = tuple(TokenLogprob(word.text, word.text.encode(), -0.1) for word in words)
    return Segment(start, words[-1].end, text, words, tokens=tuple(range(len(words))), logprobs=logprobs)


def transcript(*texts: str, hotwords: tuple[HotwordHit, ...] = ()) -> Transcript:
    segments = tuple(segment(text, 10.0 * number) for number, text in enumerate(texts))
    return Transcript(join_texts(texts), "zh", 60.0, "model", segments, hotwords=hotwords)


# --- where terms are found --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "terms", "expected"),
    [
        ("我爱飞鸟计划。", ("飞鸟计划",), "我爱****。"),
        ("a class for an ass", ("ass",), "a class for an ***"),
        ("Damn, DAMN and ＤＡＭＮ", ("damn",), "****, **** and ****"),
        ("café and cafe", ("CAFÉ",), "**** and ****"),
        ("法輪和法轮", ("法轮",), "**和**"),
        ("法輪和法轮", ("法輪",), "**和**"),
        ("in New York, new-york and newyork", ("new york",), "in *** ****, ******** and newyork"),
        ("用app下载", ("APP",), "用***下载"),
        ("A股和B股", ("a股",), "**和B股"),
        ("use C++, not C", ("c++",), "use ***, not C"),
        ("John's book and Johns", ("john",), "****** book and Johns"),
        ("McDonald's is open", ("McDonald's",), "********** is open"),
        ("飞，鸟 计。划", ("飞鸟计划",), "*** ***"),
        ("飞鸟计划书", ("飞鸟", "飞鸟计划书", "飞鸟计划"), "*****"),
        ("甲乙丙丁", ("甲乙丙", "乙丙丁"), "****"),
        ("甲甲甲甲", ("甲甲",), "****"),
        ("ひみつの話", ("ひみつ",), "***の話"),
        ("сОвсем СЕКРЕТ", ("секрет",), "сОвсем ******"),
        ("nothing here", ("飞鸟",), "nothing here"),
        ("", ("飞鸟",), ""),
    ],
)
def test_terms_are_found_however_they_are_written(text: str, terms: tuple[str, ...], expected: str) -> None:
    assert stars(text, *terms) == expected


@pytest.mark.parametrize(
    ("text", "terms", "expected"),
    [
        ("我爱飞鸟。", ("飞鸟",), "我爱。"),
        ("你好，飞鸟。再见", ("飞鸟",), "你好。再见"),
        ("飞鸟，你好", ("飞鸟",), "你好"),
        ("Well, damn, you.", ("damn",), "Well, you."),
        ("oh damn you", ("damn",), "oh you"),
        ("Damn. Hello", ("damn",), "Hello"),
        ("Stop! Damn, it works", ("damn",), "Stop! it works"),
        ("他说“飞鸟。”就走了", ("飞鸟",), "他说就走了"),
        ("飞鸟", ("飞鸟",), ""),
        ("飞鸟，飞鸟。", ("飞鸟",), ""),
        ("飞走鸟", ("走", "飞鸟"), ""),
    ],
)
def test_no_marks_or_spaces_are_left_of_what_is_removed(text: str, terms: tuple[str, ...], expected: str) -> None:
    assert without(text, *terms) == expected


def test_parentheses_mark_terms_and_keep_them() -> None:
    said = mask_text("我爱飞鸟计划。Damn it", [Masking(("飞鸟", "damn"), "parentheses")])
    assert said == "我爱(飞鸟)计划。(Damn) it"


def test_several_maskings_are_applied_together() -> None:
    both = [Masking(("飞鸟",), "remove"), Masking(("计划",)), Masking(("damn",), "parentheses")]
    assert mask_text("飞鸟计划 damn", both) == "** (damn)"
    assert mask_text("飞鸟", [Masking(("飞鸟",), "parentheses"), Masking(("飞鸟",))]) == "**"
    assert mask_text("飞走鸟", [Masking(("飞鸟",)), Masking(("走",), "remove")]) == "**"
    assert mask_text("飞鸟", []) == "飞鸟"


def test_ten_thousand_terms_take_no_longer_than_speech_does() -> None:
    names = tuple(f"{chr(0x4E00 + number % 5000)}{chr(0x5000 + number % 4999)}{number}" for number in range(10_000))
    nested = tuple("啊" * count for count in range(1, 200)) + tuple("啊" * count + "哦" for count in range(1, 200))
    text = "今天天气很好" * 2000 + "啊" * 5000 + names[77]
    begun = time.process_time()
    said = stars(text, *names, *nested)
    assert time.process_time() - begun < 5
    assert said == "今天天气很好" * 2000 + "*" * (5000 + len(names[77]))


# --- transcripts ------------------------------------------------------------------------------------------------------


def everything(found: Transcript) -> str:
    """All that a transcript says anywhere, as text."""
    parts = [found.text, *(hit.text for hit in found.hotwords)]
    for one in found.segments:
        parts += [one.text, *(word.text for word in one.words)]
        parts += [logprob.token + logprob.utf8.decode() for logprob in one.logprobs]
    return "\n".join(parts)


def test_stars_keep_the_times_and_drop_the_tokens() -> None:
    found = masked(transcript("我爱飞鸟。", "真的"), [Masking(("飞鸟",))])
    assert (found.text, [one.text for one in found.segments]) == ("我爱**。真的", ["我爱**。", "真的"])
    first = found.segments[0]
    assert [(word.text, word.start, word.end) for word in first.words] == [
        ("我", 0.0, 0.5), ("爱", 0.5, 1.0), ("*", 1.0, 1.5), ("*。", 1.5, 2.0),
    ]  # fmt: skip
    assert [word.tokens for word in first.words] == [(0,), (1,), (), ()]
    assert (first.tokens, [one.token for one in first.logprobs]) == ((0, 1), ["我", "爱"])
    assert found.segments[1] == segment("真的", 10.0)


def test_words_that_are_removed_are_gone_and_their_marks_stay() -> None:
    found = masked(transcript("我爱飞鸟。", "飞鸟！", "oh damn, you"), [Masking(("飞鸟", "damn"), "remove")])
    assert found.text == "我爱。oh, you"
    assert [one.text for one in found.segments] == ["我爱。", "oh, you"]
    assert [[word.text for word in one.words] for one in found.segments] == [["我", "爱。"], ["oh,", "you"]]
    assert [join_words(one.words) for one in found.segments] == ["我爱。", "oh, you"]
    assert found.segments[0].words[1].end == 1.0


def test_a_term_that_is_spread_over_segments() -> None:
    for style, text, texts in (
        ("stars", "我爱**计划", ["我爱*", "*计划"]),
        ("remove", "我爱 计划", ["我爱", "计划"]),
        ("parentheses", "我爱(飞) (鸟)计划", ["我爱(飞)", "(鸟)计划"]),
    ):
        found = masked(transcript("我爱飞", "鸟计划"), [Masking(("飞鸟",), style)])
        assert [one.text for one in found.segments] == texts
        assert found.text.replace(" ", "") == text.replace(" ", "")
    three = masked(transcript("甲。", "乙！", "丙丁"), [Masking(("甲乙丙",))])
    assert [one.text for one in three.segments] == ["**", "**", "*丁"]
    assert three.text == "*****丁"


def test_segments_without_words_and_words_that_say_something_else() -> None:
    bare = Segment(0, 1, "我爱飞鸟", tokens=(1, 2), logprobs=(TokenLogprob("飞鸟", "飞鸟".encode(), -1.0),))
    odd = Segment(1, 2, "第5只飞鸟", words_of("第五只飞鸟"), tokens=(1,) * 9)
    given = Transcript("我爱飞鸟 第5只飞鸟", "zh", 2.0, "model", (bare, odd))
    found = masked(given, [Masking(("飞鸟",))])
    assert found.text == "我爱** 第5只**"
    assert [one.text for one in found.segments] == ["我爱**", "第5只**"]
    assert [word.text for word in found.segments[1].words] == list("第五只**")
    assert not any(sign in everything(found) for sign in "飞鸟")
    assert (found.segments[0].tokens, found.segments[1].tokens) == ((), ())


def test_hotwords_are_counted_in_what_can_be_read() -> None:
    given = transcript("飞鸟计划", "计划", hotwords=(HotwordHit("飞鸟计划", 1, 1), HotwordHit("计划", 2, 2)))
    assert masked(given, [Masking(("飞鸟",))]).hotwords == (HotwordHit("计划", 2, 2),)
    assert masked(given, [Masking(("飞鸟计划",))]).hotwords == (HotwordHit("计划", 1, 1),)
    assert masked(given, [Masking(("飞鸟",), "parentheses")]).hotwords == given.hotwords


def test_what_has_no_term_is_left_as_it_is() -> None:
    given = transcript("我爱鸟。", "Hello, you")
    for style in ("stars", "remove", "parentheses"):
        assert masked(given, [Masking(("飞鸟",), style)]) == given
    assert masked(given, []) is given


ALPHABET = st.sampled_from(["甲", "乙", "丙", "丁", "，", "。", " ab", " a", " b"])
TEXTS = st.lists(st.lists(ALPHABET, min_size=1, max_size=8).map(lambda it: " ".join("".join(it).split())), max_size=6)
TERMS = st.lists(st.text("甲乙丙丁", min_size=1, max_size=4) | st.just("a b") | st.just("ab"), min_size=1, max_size=5)


def spoken(texts: list[str]) -> list[str]:
    return [text for text in texts if any(sign.isalnum() for sign in text) and text[0] not in "，。"]


@given(TEXTS.map(spoken), TERMS, st.sampled_from(["stars", "remove"]))
def test_nothing_of_a_hidden_term_is_left_anywhere(texts: list[str], terms: list[str], style: MaskingStyle) -> None:
    given_ = transcript(*texts)
    found = masked(given_, [Masking(tuple(terms), style)])
    finder = TermFinder(terms, CHINESE)
    assert finder.find(found.text) == []
    assert finder.find("\n".join(one.text for one in found.segments)) == []
    for one in found.segments:
        assert join_words(one.words) == one.text
        assert {word.tokens for word in one.words} - {()} == {(token,) for token in one.tokens}
    assert "".join("".join(one.text for one in found.segments).split()) == "".join(found.text.split())
    if style == "stars":
        assert [len(one.text) for one in found.segments] == [len(text) for text in texts]


@given(TEXTS.map(spoken), TERMS, st.sampled_from(["stars", "remove", "parentheses"]))
def test_segments_one_after_the_other_are_masked_as_all_together(
    texts: list[str], terms: list[str], style: MaskingStyle
) -> None:
    masker = Masker([Masking(tuple(terms), style)])
    whole = list(transcript(*texts).segments)
    waiting: list[Segment] = []
    told: list[Segment] = []
    for one in whole:
        waiting.append(one)
        count = masker.complete(waiting)
        told += masker.segments(waiting[:count])
        del waiting[:count]
    assert told + masker.segments(waiting) == masker.segments(whole)


@given(TEXTS.map(spoken).map(" ".join), TERMS, st.sampled_from(["stars", "remove", "parentheses"]))
def test_text_that_goes_on_shows_no_beginning_of_a_term(text: str, terms: list[str], style: MaskingStyle) -> None:
    """Whatever is shown of a beginning stays as it is, but for marks at its end."""
    masker = Masker([Masking(tuple(terms), style)])
    shown = [
        masker.unfinished(text[:end]).rstrip("，。 ")
        for end in range(len(text))
        if text[end : end + 1] in " 甲乙丙丁，。"
    ]
    for earlier, later in pairwise(shown):
        assert later.startswith(earlier)


# --- what is beside it ------------------------------------------------------------------------------------------------


def test_removing_changes_nothing_elsewhere() -> None:
    remover = Masker([Masking(("飞鸟", "damn"), "remove")])
    odd = "  two  spaces , a mark !\tand  more "
    assert remover.text(odd) == odd
    bare = Segment(0, 1, odd)
    assert remover.together(odd, [bare]) == (odd, [bare])
    text, segments = remover.together("a  b , oh  damn , you  all !", [Segment(0, 1, "a  b , oh damn , you  all !")])
    assert text == "a  b , oh, you  all !"
    assert [one.text for one in segments] == ["a  b , oh, you  all !"]


def test_no_quotation_marks_are_left_around_nothing() -> None:
    assert without('He said "damn." and left', "damn") == "He said and left"
    assert without("He said 'damn' and left", "damn") == "He said and left"


def test_of_terms_that_overlap_all_is_starred_if_any_is() -> None:
    both = [Masking(("飞鸟",)), Masking(("鸟计划", "书"), "remove")]
    assert mask_text("飞鸟计划书很好", both) == "****很好"
    assert mask_text("飞鸟和鸟计划书", both) == "**和"


def test_stars_do_not_wait_for_what_is_before_the_beginning_of_a_term() -> None:
    terms = ("甲丙", "乙甲丁", "丁乙戊")
    segments = [Segment(number, number + 1, sign) for number, sign in enumerate("丁乙甲")]
    assert Masker([Masking(terms)]).complete(segments) == 1
    assert Masker([Masking(terms, "remove")]).complete(segments) == 0  # 丁 may meet 乙戊


def test_what_is_removed_may_let_what_is_starred_meet() -> None:
    masker = Masker([Masking(("飞鸟",)), Masking(("走了",), "remove")])
    waiting = [Segment(number, number + 1, sign) for number, sign in enumerate("飞走")]
    assert masker.complete(waiting) == 0
    assert masker.text("飞走了鸟") == "**"
