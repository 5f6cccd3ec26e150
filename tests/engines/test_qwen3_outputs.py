"""What the model says is read token by token: the head is no text, and text once shown stands."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engines.qwen3.outputs import Answer, Output
from app.engines.qwen3.vocabulary import Vocabulary
from engines.qwen3_tokens import Small, small


@pytest.fixture(scope="module")
def tokens() -> Small:
    return small()


@pytest.fixture(scope="module")
def vocabulary(tokens: Small, tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return Vocabulary(tokens.write(tmp_path_factory.mktemp("qwen3")))


def heard(output: Output, ids: Sequence[int]) -> tuple[Answer, list[str]]:
    """The answer, and the text after each token, which is checked to grow only."""
    shown = [output.text]
    for number, token in enumerate(ids):
        output.add(token, -0.001 * number)
        shown.append(output.text)
    answer = output.finish()
    for before, after in zip(shown, [*shown[1:], answer.text], strict=True):
        assert after.startswith(before)
    assert output.text == answer.text
    check_places(answer)
    return answer, shown


def check_places(answer: Answer) -> None:
    """Tokens stand in order, and where they say they have bytes of the text."""
    assert answer.text == " ".join(answer.text.split())
    at = 0
    for token in answer.tokens:
        assert at <= token.start <= token.end <= len(answer.text)
        at = token.start
        part, said = answer.text[token.start : token.end].strip(), token.utf8.decode(errors="ignore").strip()
        assert "".join(said.split()) in "".join(part.split())


@pytest.mark.parametrize("chunks", ["bpe", "bytes", "pairs"])
@pytest.mark.parametrize(
    ("said", "language", "text"),
    [
        ("language English<asr_text>Hello, world!", "English", "Hello, world!"),
        ("language Chinese<asr_text>欢迎大家。", "Chinese", "欢迎大家。"),
        ("language Cantonese (Hong Kong accent)<asr_text>你好", "Cantonese (Hong Kong accent)", "你好"),
        (" Language  Wu language <asr_text> 你  好\n", "Wu language", "你 好"),
        ("language None<asr_text>", None, ""),
        ("language None<asr_text> ", None, ""),
        ("language None<asr_text>but yes", None, "but yes"),
        ("<asr_text>Hello", None, "Hello"),
        ("language <asr_text>Hello", None, "Hello"),
        ("Hello, world!", None, "Hello, world!"),
        ("languages are many", None, "languages are many"),
        ("Language, they say, matters.", None, "Language, they say, matters."),
        ("language models are great", None, "language models are great"),
        ("language models are what this sentence, which has no head at all, is about", None, None),
        ("lang", None, "lang"),
        ("<3 and <asr> are text", None, "<3 and <asr> are text"),
        ("language English", "English", ""),  # ended before it spoke
        ("language Engl", "Engl", ""),
        ("language English<asr_", "English", ""),
        ("language", None, ""),
        ("", None, ""),
    ],
)
def test_answers_of_every_form(
    vocabulary: Vocabulary, tokens: Small, said: str, language: str | None, text: str | None, chunks: str
) -> None:
    utf8 = said.encode()
    ids = {
        "bpe": lambda: tokens.encode(said),
        "bytes": lambda: tokens.spell(utf8),
        "pairs": lambda: [
            token
            for at in range(0, len(said), 2)
            for token in tokens.tokenizer.encode(said[at : at + 2], add_special_tokens=False).ids
        ],
    }[chunks]()
    answer, shown = heard(Output(vocabulary), ids)
    assert (answer.language, answer.text) == (language, said if text is None else text)
    assert not any("<asr_text" in partial or partial.startswith("language E") for partial in shown)
    assert (answer.tokens != ()) == bool(answer.text)


@pytest.mark.parametrize("text", ["Hello", "language English", "language", "Language matters a lot"])
def test_where_the_language_was_forced_all_is_text(vocabulary: Vocabulary, tokens: Small, text: str) -> None:
    answer, _ = heard(Output(vocabulary, forced="English"), tokens.encode(text))
    assert (answer.language, answer.text) == ("English", text)


def test_a_forced_model_that_says_the_language_again_has_not_said_text(vocabulary: Vocabulary, tokens: Small) -> None:
    answer, _ = heard(Output(vocabulary, forced="Chinese"), tokens.encode("language English<asr_text>Hello"))
    assert (answer.language, answer.text) == ("English", "Hello")


def test_text_comes_as_it_is_said_without_a_blank_at_its_end(vocabulary: Vocabulary, tokens: Small) -> None:
    output = Output(vocabulary)
    shown: list[str] = []
    for token in tokens.encode("language English<asr_text>") + tokens.spell(b" a  bc"):
        output.add(token, 0.0)
        shown.append(output.text)
    assert output.language == "English", "known before the text is"
    assert shown[-6:] == ["", "a", "a", "a", "a b", "a bc"]


def test_only_whole_characters_are_shown_and_a_broken_one_is_replaced_at_the_end(
    vocabulary: Vocabulary, tokens: Small
) -> None:
    utf8 = "好龘".encode()
    answer, shown = heard(Output(vocabulary, forced="Chinese"), tokens.spell(utf8[:-1]))
    assert shown == ["", "", "", "好", "好", "好"]
    assert answer.text == "好\ufffd"
    assert [(token.start, token.end) for token in answer.tokens] == [(0, 1)] * 3 + [(1, 2)] * 2


def test_a_tag_inside_text_is_no_head(vocabulary: Vocabulary, tokens: Small) -> None:
    assert heard(Output(vocabulary), tokens.encode("hello <asr_text>there"))[0].text == "hello there"
    l_of, *others = tokens.spell(b"la<asr_text>b")
    answer, _ = heard(Output(vocabulary), [l_of, *others])
    assert (answer.text, [token.id for token in answer.tokens]) == ("lab", tokens.spell(b"lab"))


def test_nothing_after_the_end_is_heard(vocabulary: Vocabulary, tokens: Small) -> None:
    output = Output(vocabulary)
    answer, _ = heard(output, tokens.encode("language English<asr_text>Hello<|im_end|>more"))
    assert output.finished
    assert answer.text == "Hello"
    assert answer.warnings == ()


def test_special_tokens_inside_are_no_text(vocabulary: Vocabulary, tokens: Small) -> None:
    answer, _ = heard(Output(vocabulary), tokens.encode("language English<asr_text>Hel<|audio_pad|>lo<timestamp>!"))
    assert answer.text == "Hello!"
    assert b"".join(token.utf8 for token in answer.tokens) == b"Hello!"


def test_tokens_keep_their_probabilities(vocabulary: Vocabulary, tokens: Small) -> None:
    output = Output(vocabulary)
    head, text = tokens.encode("language English<asr_text>"), tokens.encode(" Hello, world!")
    for token in head:
        output.add(token, -9.0)
    for number, token in enumerate(text):
        output.add(token, -float(number))
    answer = output.finish()
    assert [token.id for token in answer.tokens] == text
    assert [token.logprob for token in answer.tokens] == [-float(number) for number in range(len(text))]


def test_a_text_goes_on_from_its_prefix(vocabulary: Vocabulary, tokens: Small) -> None:
    output = Output(vocabulary, forced="English", prefix="The quick")
    assert output.text == "The quick"
    answer, shown = heard(output, tokens.encode(" brown fox"))
    assert answer.text == "The quick brown fox"
    assert {text[:9] for text in shown} == {"The quick"}
    assert answer.tokens[0].start == len("The quick ")
    assert heard(Output(vocabulary, forced="English", prefix="The qu "), tokens.encode("ick"))[0].text == "The qu ick"
    assert heard(Output(vocabulary, forced="Chinese", prefix="你"), tokens.encode("好"))[0].text == "你好"
    assert heard(Output(vocabulary, forced="Chinese", prefix="你好"), [])[0] == Answer("你好", "Chinese", ())


def test_a_loop_is_told_at_once_and_cut_to_two(vocabulary: Vocabulary, tokens: Small) -> None:
    output = Output(vocabulary)
    before, unit = "language English<asr_text>Hello!", tokens.encode(" The fox.")
    answer, shown = heard(output, tokens.encode(before) + unit * 40)
    assert output.looping
    assert answer.text == "Hello! The fox. The fox."
    assert answer.warnings == ("repetition_cut",)
    assert shown[-1] == answer.text
    assert b"".join(token.utf8 for token in answer.tokens).decode() == answer.text


@pytest.mark.parametrize(
    ("before", "unit", "left"),
    [
        ("Hello.", " The fox.", "Hello. The fox. The fox."),  # what repeats are ". The fox"
        ("The fox.", " The fox.", "The fox. The fox. The fox."),  # " fox. The"
        ("好", "大家。", "好大家。大家。"),
        ("", "哈", "哈哈"),
    ],
)
def test_a_loop_is_cut_where_a_sentence_ends(
    vocabulary: Vocabulary, tokens: Small, before: str, unit: str, left: str
) -> None:
    ids = tokens.encode(before) + tokens.encode(unit) * 40
    answer, _ = heard(Output(vocabulary, forced="English"), ids)
    assert (answer.text, answer.warnings) == (left, ("repetition_cut",))


@pytest.mark.parametrize("text", ["哈" * 20, "哈哈哈哈哈", "no no no", "no " * 19 + "no. Hello"])
def test_laughter_survives(vocabulary: Vocabulary, tokens: Small, text: str) -> None:
    for ids in (tokens.encode(text), [token for character in text for token in tokens.encode(character)]):
        answer, _ = heard(Output(vocabulary, forced="Chinese"), ids)
        assert answer.text == text
        assert answer.warnings == ()


def test_a_loop_that_is_cut_inside_a_character_leaves_none_of_it(vocabulary: Vocabulary, tokens: Small) -> None:
    first, second, third = tokens.spell("龘".encode())
    answer, _ = heard(Output(vocabulary, forced="Chinese"), [third, *[first, second, third] * 30])
    assert answer.warnings == ("repetition_cut",)
    assert answer.text == "\ufffd龘"
    answer, _ = heard(Output(vocabulary, forced="Chinese"), [first, second, third, second, *[third, first] * 30])
    assert answer.text.startswith("龘")
    assert answer.warnings == ("repetition_cut",)


ANY = st.text(alphabet=st.sampled_from("ab .,é语好龘😀한 \n<language>"), max_size=30)


@given(text=ANY, spelled=st.lists(st.booleans(), min_size=40, max_size=40), head=st.booleans())
def test_any_text_in_any_tokens(
    vocabulary: Vocabulary, tokens: Small, text: str, spelled: list[bool], head: bool
) -> None:
    ids: list[int] = tokens.encode("language English<asr_text>") if head else []
    for character, bytewise in zip(text, spelled, strict=False):
        ids += tokens.spell(character.encode()) if bytewise else tokens.encode(character)
    output = Output(vocabulary, forced=None if head else "English")
    answer, _ = heard(output, ids)
    assert answer.language == "English"
    if not output.looping:
        assert answer.text == " ".join(text.split())


@given(st.binary(max_size=40))
def test_any_bytes_are_read_as_python_reads_them(vocabulary: Vocabulary, tokens: Small, utf8: bytes) -> None:
    output = Output(vocabulary, forced="English")
    for token in tokens.spell(utf8):
        output.add(token, 0.0)
    answer = output.finish()
    if not output.looping:
        assert answer.text == " ".join(utf8.decode(errors="replace").split())
    at = 0
    for token in answer.tokens:
        assert at <= token.start <= token.end <= len(answer.text)
        at = token.start


@given(
    st.lists(st.tuples(st.text(alphabet="ab 好龘", min_size=1, max_size=4), st.integers(1, 24)), min_size=1, max_size=5)
)
def test_whatever_repeats_what_was_shown_stands(
    vocabulary: Vocabulary, tokens: Small, parts: list[tuple[str, int]]
) -> None:
    ids = [token for unit, times in parts for token in tokens.encode(unit) * times]
    heard(Output(vocabulary, forced="English"), ids)
