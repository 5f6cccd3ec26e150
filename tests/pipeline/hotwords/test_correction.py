"""What is corrected, what never is, and what becomes of times, marks and everything around."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypinyin.constants import PHRASES_DICT

from app.domain.hotwords import Hotword
from app.domain.speakers import Speaker
from app.domain.transcript import Word, join_words
from app.pipeline.hotwords.correction import Corrector
from tests.pipeline.hotwords.saying import corrected, correction, words

TERMS = (
    "通义千问",
    "达摩院",
    "Qwen",
    "ChatGPT",
    "通义Qwen",
    "Kubernetes",
    "Anthropic",
    "OpenAI",
    "史蒂夫·乔布斯",
    "T恤",
    "Qwen ASR",
)
LIST = Corrector([Hotword(term) for term in TERMS])
CHARACTERS = "同通一意千前问文大打魔磨院元的我，。史帝福桥布斯恤序"
LETTERS = [" q", " wen", " chat", " g", " p", " t", " the", " quen", " open", " ai", " asr.", " it's", " kubernetis"]
SPOKEN = st.lists(st.sampled_from([*CHARACTERS, *LETTERS]), max_size=25).map("".join)
SURE = st.one_of(st.none(), st.floats(0, 1))


@pytest.mark.parametrize(
    ("said", "term", "meant"),
    [
        ("欢迎使用通一千问，", "通义千问", "欢迎使用通义千问，"),
        ("同意千文很好", "通义千问", "通义千问很好"),
        ("打磨院的模型", "达摩院", "达摩院的模型"),
        ("去银航取钱", "银行", "去银行取钱"),
        ("张成泽说", "张成哲", "张成哲说"),
        ("黄老五来了", "王老五", "黄老五来了"),
        ("用 quen 很好", "Qwen", "用 Qwen 很好"),
        ("用 q wen 很好", "Qwen", "用 Qwen 很好"),
        ("“chat g p t”!", "ChatGPT", "“ChatGPT”!"),
        ("the Q-wen model", "Qwen", "the Qwen model"),
        ("we run kubernetis and cuber netes.", "Kubernetes", "we run Kubernetes and Kubernetes."),
        ("open ai's models", "OpenAI", "OpenAI's models"),
        ("I know antropic", "Anthropic", "I know Anthropic"),
        ("quen asr, please", "Qwen ASR", "Qwen ASR, please"),
        ("我用通一quen", "通义Qwen", "我用通义Qwen"),
        ("买t序", "T恤", "买T恤"),
        ("史蒂芙乔布丝", "史蒂夫·乔布斯", "史蒂夫·乔布斯"),
        ("chatgpt", "ChatGPT", "ChatGPT"),
    ],
)
def test_what_sounds_like_a_term_becomes_it(said: str, term: str, meant: str) -> None:
    assert corrected(said, term) == meant


@pytest.mark.parametrize("confidence", [None, 0.6, 0.95])
@pytest.mark.parametrize(
    ("said", "terms"),
    [
        ("公司的权利", ["权力", "公私"]),  # common words that sound the same
        ("事实就是这样", ["实施"]),
        ("历史的确如此", ["李诗德"]),  # a name that sounds like a word and a particle
        ("他的历史记录", ["实际"]),  # the end of one word and the beginning of the next
        ("没有实时流式识别", ["失时落势"]),
        ("通义千问，通义", ["通义千问", "同义千问"]),  # one term never replaces another
        ("我说的是", ["朔"]),  # a single character
        ("the cloud is open and when it rains we quit", ["Claude", "Qwen", "Quid"]),
        ("two models of them, modelled well", ["model"]),
        ("GPT-3 and iPhone 15", ["GPT-4", "iPhone 16"]),
        ("they decoded it with a decoder", ["decayed", "decider"]),
        ("it is for us", ["IT", "US"]),
        ("通一，千问", ["通义千问"]),  # a mark between
        ("SDKs", ["sidekicks"]),
        ("東京タワー", ["とうきょう"]),
    ],
)
def test_what_may_well_have_been_said_stays(said: str, terms: list[str], confidence: float | None) -> None:
    result = correction(said, *terms, confidence=confidence)
    assert list(result.words) == words(said, confidence)
    assert result.terms == {}


@pytest.mark.parametrize(
    "said", ["Qwen很好", "Qwen's", "Qwen ASR, Qwen-ASR", "通义Qwen和T恤", "史蒂夫乔布斯", "use ChatGPT."]
)
def test_what_is_written_as_the_term_already_is_no_correction(said: str) -> None:
    before = words(said)
    result = LIST.correct(before)
    assert result.terms == {}
    assert all(a is b for a, b in zip(result.words, before, strict=True))


def test_what_was_recognised_with_confidence_is_replaced_by_an_exact_homophone_only() -> None:
    assert corrected("同意千文", "通义千问", confidence=0.3) == "通义千问"
    assert corrected("通义前文", "通义千文", confidence=0.95) == "通义千文"
    assert corrected("痛一琴文", "通义千文", confidence=0.95) == "痛一琴文"
    assert corrected("张成泽", "张成哲", confidence=0.95) == "张成泽"
    assert corrected("quen", "Qwen", confidence=0.95) == "quen"


def test_a_common_word_is_replaced_where_it_was_hardly_recognised() -> None:
    assert corrected("权利", "权力", confidence=0.05) == "权力"
    assert corrected("权利", "权力", confidence=0.5) == "权利"


def test_a_heavier_term_needs_less() -> None:
    said = words("我去音行")
    assert join_words(Corrector([Hotword("银行")]).correct(said).words) == "我去音行"
    assert join_words(Corrector([Hotword("银行", 10.0)]).correct(said).words) == "我去银行"


def test_the_longest_term_wins_then_the_closest() -> None:
    assert corrected("通一千问大磨型", "通义千问", "通义千问大模型") == "通义千问大模型"
    assert corrected("打磨院", "搭魔苑", "达摩院") == corrected("打磨院", "达摩院", "搭魔苑") == "达摩院"


def test_no_term_reaches_across_a_pause_or_to_another_speaker() -> None:
    corrector = Corrector([Hotword("通义千问")])
    said = words("通一千问")
    paused = [*said[:2], *(replace(word, start=word.start + 2, end=word.end + 2) for word in said[2:])]
    shared = [*said[:2], *(replace(word, speaker=Speaker(2)) for word in said[2:])]
    assert join_words(corrector.correct(said).words) == "通义千问"
    assert list(corrector.correct(paused).words) == paused
    assert list(corrector.correct(shared).words) == shared


def test_replaced_words_keep_their_times_tokens_and_the_least_confidence() -> None:
    said = [replace(word, tokens=(n,), confidence=0.4 + n / 100) for n, word in enumerate(words("我说通一千文。"))]
    result = LIST.correct(said).words
    assert [(word.text, word.start, word.end, word.tokens) for word in result] == [
        (text, word.start, word.end, word.tokens) for text, word in zip([*"我说通义千", "问。"], said, strict=True)
    ]
    assert [word.confidence for word in result] == pytest.approx([0.4, 0.41, 0.42, 0.42, 0.44, 0.42])


def test_a_term_of_other_words_shares_the_time_by_length() -> None:
    said = [Word("q", 1.0, 1.2, 0.5, True, (1,)), Word("wen", 1.2, 1.6, 0.4, True, (2,)), Word("asr.", 1.6, 2.4)]
    result = Corrector([Hotword("Qwen ASR")]).correct(said).words
    assert [word.text for word in result] == ["Qwen", "ASR."]
    assert [word.space_before for word in result] == [True, True]
    assert (result[0].start, result[1].end) == (1.0, 2.4)
    assert result[0].end == result[1].start == pytest.approx(1.8)
    assert result[0].tokens == (1, 2)
    assert {word.confidence for word in result} == {0.4}


@given(SPOKEN, SURE)
def test_times_stay_in_order_and_everything_else_stays(said: str, confidence: float | None) -> None:
    before = words(said, confidence)
    result = LIST.correct(before)
    after = list(result.words)
    assert all(word.start <= word.end for word in after)
    assert all(a.end <= b.start + 1e-9 for a, b in pairwise(after))
    if before:
        assert (after[0].start, after[-1].end) == (before[0].start, before[-1].end)
    untouched = [word for word in after if any(word is other for other in before)]
    assert [word for word in before if any(word is other for other in untouched)] == untouched
    assert bool(result.terms) == (len(untouched) < len(before))
    text = join_words(result.words)
    assert all(text.count(term) >= count for term, count in result.terms.items())
    assert [sign for sign in said if sign in "，。"] == [sign for sign in text if sign in "，。"]
    new = sum(len(word.text) for word in after) - sum(len(word.text) for word in untouched)
    assert new <= sum((len(term) + 4) * count for term, count in result.terms.items())
    assert LIST.correct(after).terms == {}  # corrected text is left alone


@given(st.text(alphabet="阿里巴蜀山水云飞鸟鱼虫，。 xyzbdf", max_size=40), SURE)
def test_text_that_sounds_like_no_term_is_returned_as_it_is(said: str, confidence: float | None) -> None:
    before = words(said, confidence)
    assert LIST.correct(before).words == tuple(before)


@given(st.lists(st.text(max_size=6), max_size=6), st.lists(st.text(max_size=6), max_size=12))
def test_whatever_the_terms_and_words_nothing_breaks(terms: list[str], texts: list[str]) -> None:
    said = [Word(text, n * 1.0, n + 1.0) for n, text in enumerate(texts)]
    result = Corrector([Hotword(term) for term in terms]).correct(said)
    assert set(result.terms) <= set(terms)
    if not result.terms:
        assert result.words == tuple(said)


def test_words_of_a_language_without_a_list_are_only_joined() -> None:
    terms = [Hotword("Kontrakt"), Hotword("ChatGPT")]
    french = Corrector([Hotword("Contract")], language="fr")
    assert join_words(french.correct(words("le contrat est long")).words) == "le contrat est long"
    unknown = Corrector(terms, language="cy")
    assert join_words(unknown.correct(words("y contrakt a chat g p t")).words) == "y contrakt a ChatGPT"


def test_thousands_of_terms() -> None:
    """Loose bounds: `python -m benchmarks.hotwords` has the real figures."""
    terms = [Hotword(phrase) for phrase in sorted(PHRASES_DICT)[:5000]]
    begun = time.perf_counter()
    corrector = Corrector(terms)
    assert time.perf_counter() - begun < 3.0
    said = words("欢迎大家来体验达摩院推出的语音识别模型，" * 50)
    begun = time.perf_counter()
    corrector.correct(said)
    assert time.perf_counter() - begun < 1.0


def test_a_list_of_nothing_but_homophones_is_no_slower() -> None:
    alike = [
        Hotword(a + b)
        for a in "是事市式试视室势世士示识石时实食十史使始"
        for b in "是事市式试视室势世士示识石时实食十史使始"
    ]
    begun = time.perf_counter()
    Corrector(alike).correct(words("诗师" * 500))
    assert time.perf_counter() - begun < 3.0


def test_one_corrector_serves_several_threads() -> None:
    said = [words(text) for text in ("通一千问和打磨院", "chat g p t and kubernetis", "我用通一quen")] * 20
    alone = [LIST.correct(each) for each in said]
    fresh = Corrector([Hotword(term) for term in TERMS])
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(fresh.correct, said)) == alone
