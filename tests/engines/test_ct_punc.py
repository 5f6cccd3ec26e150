"""CT-Transformer with models whose answers are known: which marks come back, how long texts are gone through, how
Chinese is cut for the large model, and what is said of folders that are not whole."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jieba
import pytest
from models.small_punctuation import write_dictionary, write_punctuation

from app.domain.errors import EngineFailure
from app.engines import ct_punc
from app.engines.ct_punc.dictionary import read_dictionary
from app.engines.ct_punc.punctuator import CtPunctuator
from app.settings import Settings

TOKENS = ("好", "吗", "了", "请", "和", "ok", "hello", "nice", "啊")
AFTER = {"吗": "？", "了": "。", "和": "、", "ok": "，"}
BEFORE = {"请": "。"}
"""请 ends what is before it: a mark that is known only with the next word."""


def load(folder: Path) -> CtPunctuator:
    return ct_punc.load("ct-punc", folder, Settings())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_punctuation(tmp_path_factory.mktemp("punctuation") / "model", TOKENS, AFTER, BEFORE)


@pytest.fixture(scope="module")
def small(folder: Path) -> CtPunctuator:
    return load(folder)


def drawn(punctuator: CtPunctuator, words: list[str]) -> str:
    """The words with their marks, spaced."""
    return " ".join(word + mark for word, mark in zip(words, punctuator.marks(words), strict=True))


def test_each_word_gets_its_mark(small: CtPunctuator) -> None:
    words = ["好", "吗", "好", "了", "好", "和", "好", "ok", "好", "好", "请", "好", "了"]
    assert drawn(small, words) == "好 吗？ 好 了。 好 和、 好 ok， 好 好。 请 好 了。"


@pytest.mark.parametrize("last", ["好", "和", "ok", "?", "never-heard-of"])
def test_the_last_word_always_ends_a_sentence(small: CtPunctuator, last: str) -> None:
    assert small.marks(["好", last])[-1] == "。"


def test_a_question_at_the_end_stays_one(small: CtPunctuator) -> None:
    assert small.marks(["好", "吗"]) == ["", "？"]


def test_nothing_has_no_marks(small: CtPunctuator) -> None:
    assert small.marks([]) == []


@pytest.mark.parametrize("words", [["好", " "], ["", "好", ""], ["\u3000", "\t"]])
def test_blank_words_are_passed_over(small: CtPunctuator, words: list[str]) -> None:
    assert small.marks(words) == [""] * (len(words) - 1) + ["。"]


def test_a_word_of_several_tokens_has_the_mark_of_the_last(small: CtPunctuator) -> None:
    assert small.marks(["好吗", "了好", "吗 了", "okhello", "好ok", "好"]) == ["？", "", "。", "", "，", "。"]


@pytest.mark.parametrize("odd", ["\ud800", "👩\u200d👩", "é", "e\u0301", "\x00", "𠮷", "\u2028", "ａ"])
def test_odd_characters_change_nothing_around_them(small: CtPunctuator, odd: str) -> None:
    assert small.marks(["好", "吗", odd, "了", "好"]) == ["", "？", "", "。", "。"]


def test_a_sentence_goes_on_across_the_steps(small: CtPunctuator) -> None:
    # the 20th word of a step and the first after it: what ends there is known only with the next step
    words = ["好"] * 19 + ["啊", "请"] + ["好"] * 30 + ["吗"] + ["好"] * 9
    marks = small.marks(words)
    assert {place: mark for place, mark in enumerate(marks) if mark} == {19: "。", 51: "？", 60: "。"}


def test_the_first_two_words_end_no_sentence_before_the_text_is_over(small: CtPunctuator) -> None:
    # FunASR looks for a place to cut from the third word on; the mark itself stays
    words = ["好", "ok"] + ["好"] * 230
    assert {place: mark for place, mark in enumerate(small.marks(words)) if mark} == {1: "，", 231: "。"}


@pytest.mark.parametrize(("length", "cut"), [(200, False), (220, False), (221, True), (400, True)])
def test_a_sentence_of_more_than_two_hundred_words_ends_at_its_last_comma(
    small: CtPunctuator, length: int, cut: bool
) -> None:
    words = ["好"] * length
    words[50], words[150] = "ok", "ok"
    assert small.marks(words)[50] == "，"
    assert small.marks(words)[150] == ("。" if cut else "，")


def test_a_long_sentence_without_a_comma_is_left_whole(small: CtPunctuator) -> None:
    assert small.marks(["好"] * 450) == [""] * 449 + ["。"]


def test_thousands_of_words(small: CtPunctuator) -> None:
    chance = random.Random(3)
    words = [chance.choice(TOKENS) for _ in range(6000)]
    followed = zip(words, [*words[1:], ""], strict=True)
    expected = ["。" if after == "请" else AFTER.get(word, "") for word, after in followed]
    expected[-1] = expected[-1] if expected[-1] in ("。", "？") else "。"
    assert small.marks(words) == expected


def test_threads_do_not_disturb_each_other(small: CtPunctuator) -> None:
    chance = random.Random(4)
    texts = [[chance.choice(TOKENS) for _ in range(chance.randint(1, 90))] for _ in range(120)]
    alone = [small.marks(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(small.marks, texts)) == alone


def test_what_it_says_of_itself(small: CtPunctuator) -> None:
    assert (small.id, small.languages) == ("ct-punc", {"zh", "en"})


def test_the_int8_graph_is_preferred(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "both")
    write_punctuation(tmp_path / "both", TOKENS, {"好": "？"}, file="model_quant.onnx")
    assert load(tmp_path / "both").marks(["好"]) == ["？"]
    (tmp_path / "both" / "model.onnx").unlink()
    assert load(tmp_path / "both").marks(["好"]) == ["？"]


# The large model: Chinese in words


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> CtPunctuator:
    """Knows words, among them one that jieba alone would cut."""
    tokens = ("今天", "天气", "怎么样", "云知声", "打开", "第15章", "好", "hello", "卡拉ok")
    after = {"怎么样": "？", "云知声": "，", "第15章": "。", "hello": "，", "卡拉ok": "、", "天气": "、"}
    folder = write_punctuation(tmp_path_factory.mktemp("punctuation") / "large", tokens, after)
    (folder / "jieba_usr_dict").write_text("云知声\n第15章 30\n卡拉ok 20 n\n", encoding="utf-8")
    return load(folder)


def test_the_mark_of_a_word_follows_its_last_character(large: CtPunctuator) -> None:
    assert drawn(large, list("打开天气怎么样云知声好")) == "打 开 天 气、 怎 么 样？ 云 知 声， 好。"


def test_words_are_not_cut_across_latin_ones(large: CtPunctuator) -> None:
    assert drawn(large, ["云", "hello", "知", "声", "怎", "么", "样"]) == "云 hello， 知 声 怎 么 样？"


def test_a_word_of_the_dictionary_may_be_several_words(large: CtPunctuator) -> None:
    words = ["第", "15", "章", "好", "卡", "拉ok", "好"]
    assert drawn(large, words) == "第 15 章。 好 卡 拉ok、 好。"


def test_no_mark_falls_into_a_word(large: CtPunctuator) -> None:
    assert large.marks(["天气怎", "么样", "怎么样好"]) == ["", "？", "。"]


@pytest.fixture(scope="module")
def jieba_counts(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], tuple[dict[str, int], int]]:
    """What jieba itself counts with a user dictionary."""

    def counts(dictionary: Path) -> tuple[dict[str, int], int]:
        tokenizer = jieba.Tokenizer()
        tokenizer.tmp_dir = str(tmp_path_factory.getbasetemp())
        tokenizer.load_userdict(str(dictionary))
        return tokenizer.FREQ, tokenizer.total

    return counts


@pytest.mark.parametrize("counted", [0.002, 0.3])
def test_a_dictionary_is_counted_as_jieba_counts_it(
    jieba_counts: Callable[[Path], tuple[dict[str, int], int]], tmp_path: Path, counted: float
) -> None:
    (tmp_path / "none").write_text("", encoding="utf-8")
    known = [word for word, often in jieba_counts(tmp_path / "none")[0].items() if often]
    dictionary = write_dictionary(tmp_path / "words", known, 8_000, counted=counted)
    ours = read_dictionary(dictionary)
    theirs, total = jieba_counts(dictionary)
    assert (ours.total, ours.FREQ) == (total, theirs)


def test_jiebas_file_in_the_temporary_folder_is_neither_read_nor_written(
    large: CtPunctuator, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model" / "jieba_usr_dict").write_text("云知声\n", encoding="utf-8")
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "jieba.cache").write_bytes(b"planted")
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    load(tmp_path / "model").marks(list("云知声好吗"))
    assert [(path.name, path.read_bytes()) for path in shared.iterdir()] == [("jieba.cache", b"planted")]


# Folders that are not whole


def broken(tmp_path: Path, folder: Path, break_it: Callable[[Path], object]) -> str:
    shutil.copytree(folder, tmp_path / "broken")
    break_it(tmp_path / "broken")
    with pytest.raises(EngineFailure) as failure:
        load(tmp_path / "broken")
    assert str(tmp_path) not in failure.value.message
    return failure.value.message


@pytest.mark.parametrize("file", ["config.yaml", "tokens.json", "model.onnx"])
def test_a_missing_file_is_named(folder: Path, tmp_path: Path, file: str) -> None:
    assert broken(tmp_path, folder, lambda at: (at / file).unlink()) == f"{file} is missing."


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config.yaml", b"a: [", "config.yaml is not YAML."),
        ("config.yaml", b"[" * 5000, "config.yaml is not YAML."),
        ("config.yaml", b"- a", "config.yaml is not a mapping."),
        ("config.yaml", b"\xff\xfe\x00", "config.yaml is not text."),
        ("config.yaml", b"model: Paraformer", "config.yaml describes Paraformer; CTTransformer is what is served."),
        ("config.yaml", b"a: 1", "config.yaml has no model_conf."),
        ("config.yaml", b"model_conf: {ignore_id: 0}", "config.yaml has no punc_list."),
        ("config.yaml", b"model_conf: {punc_list: [_, '!']}", "punc_list has '!', which is no mark that is known."),
        ("config.yaml", b"model_conf: {punc_list: [[], _]}", "punc_list has [], which is no mark that is known."),
        ("config.yaml", b"model_conf: {punc_list: [_, '.'], sentence_end_id: 0}", "sentence_end_id 0 is not"),
        ("config.yaml", b"model_conf: {punc_list: [_, '.']}", "sentence_end_id 3 is not"),
        ("config.yaml", b"model_conf: {punc_list: [_, '.'], sentence_end_id: 1}", "2 marks, model.onnx gives 6."),
        ("tokens.json", b"{", "tokens.json is not JSON"),
        ("tokens.json", b"[" * 100_000, "tokens.json is not JSON"),
        ("tokens.json", b'{"a": 1}', "tokens.json is not a list of tokens."),
        ("tokens.json", b'["a", 1]', "tokens.json is not a list of tokens."),
        ("tokens.json", b'["a", "a", "<unk>"]', "tokens.json has 1 tokens more than once."),
        ("tokens.json", b'["a", "b"]', "tokens.json has no <unk>."),
        ("tokens.json", json.dumps(["<unk>", *map(str, range(90))]).encode(), "model.onnx cannot be run with the 91"),
        ("model.onnx", b"", "model.onnx is not a whole ONNX model"),
        ("model.onnx", b"\x08\x08not a model", "model.onnx is not a whole ONNX model"),
        ("jieba_usr_dict", b"\xff\xff", "jieba_usr_dict is not text."),
        ("jieba_usr_dict", b"word " + b"9" * 5000, "jieba_usr_dict: counts are too large."),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(
    folder: Path, tmp_path: Path, file: str, content: bytes, said: str
) -> None:
    assert said in broken(tmp_path, folder, lambda at: (at / file).write_bytes(content))


def test_half_a_graph(folder: Path, tmp_path: Path) -> None:
    def halve(at: Path) -> None:
        content = (at / "model.onnx").read_bytes()
        (at / "model.onnx").write_bytes(content[: len(content) // 2])

    assert "model.onnx is not a whole ONNX model" in broken(tmp_path, folder, halve)


def test_another_kind_of_model(folder: Path, tmp_path: Path, models_dir: Path) -> None:
    def replace(at: Path) -> None:
        shutil.copyfile(models_dir / "fsmn-vad" / "model.onnx", at / "model.onnx")

    assert broken(tmp_path, folder, replace).startswith("model.onnx takes speech, in_cache0")


def test_ascii_marks_in_the_configuration_are_the_full_width_ones(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "ascii")
    config = (tmp_path / "ascii" / "config.yaml").read_text(encoding="utf-8")
    for mark, ascii_mark in {"，": '","', "？": '"?"', "。": '"."'}.items():
        config = config.replace(mark, ascii_mark)
    (tmp_path / "ascii" / "config.yaml").write_text(config, encoding="utf-8")
    assert load(tmp_path / "ascii").marks(["ok", "吗", "了"]) == ["，", "？", "。"]
