"""Fields about the text: hotwords in all the ways people write them, stored vocabularies, marks and digits."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI
from openai_server import KEY, OTHER_KEY, TRANSCRIPTS, Running, serving

from app.domain.hotwords import Hotword, HotwordHit
from app.domain.masking import Masking
from app.domain.options import RecognitionOptions
from app.service.auth import KeyRing

PATH = "/v1/audio/transcriptions"
Pairs = list[tuple[str, str]]


def post(raw: httpx.Client, *pairs: tuple[str, str], content: bytes = b"zh") -> httpx.Response:
    parts: list[tuple[str, tuple[str | None, bytes]]] = [(name, (None, value.encode())) for name, value in pairs]
    return raw.post(PATH, files=[*parts, ("file", ("a.wav", content))])


def asked(raw: httpx.Client, server: Running, *pairs: tuple[str, str]) -> RecognitionOptions:
    answer = post(raw, *pairs)
    assert answer.status_code == 200, answer.text
    return server.calls.options[-1]


def refused(raw: httpx.Client, server: Running, *pairs: tuple[str, str], status: int = 400) -> dict[str, Any]:
    answer = post(raw, *pairs)
    assert answer.status_code == status, answer.text
    assert server.calls.options == []
    return answer.json()["error"]


@pytest.mark.parametrize(
    "pairs",
    [
        [("hotwords", "阿里巴巴 20 通义千问 10")],
        [("hotwords", "阿里巴巴 20\n通义千问 10")],
        [("hotwords", '{"阿里巴巴": 20, "通义千问": 10}')],
        [("hotwords", '[{"text": "阿里巴巴", "weight": 20}, {"text": "通义千问", "weight": 10}]')],
        [("vocabulary_id", "阿里巴巴 20 通义千问 10")],
        [("hotwords[]", "阿里巴巴 20"), ("hotwords[]", "通义千问 10")],
    ],
)
def test_hotwords_with_weights(raw: httpx.Client, server: Running, pairs: Pairs) -> None:
    first, second = asked(raw, server, *pairs).hotwords
    assert (first.text, second.text) == ("阿里巴巴", "通义千问")
    assert first.weight == pytest.approx(2 * second.weight)


@pytest.mark.parametrize(
    "pairs",
    [
        [("hotwords", "阿里巴巴 通义千问")],
        [("hotwords", "阿里巴巴，通义千问")],
        [("hotwords", "阿里巴巴"), ("hotwords", "通义千问")],
        [("hotwords", '["阿里巴巴", "通义千问"]')],
        [("keywords[]", "阿里巴巴"), ("hotwords", "通义千问")],
        [("keywords[]", "阿里巴巴"), ("vocabulary_id", "通义千问"), ("hotwords", "阿里巴巴")],
    ],
)
def test_plain_hotwords(raw: httpx.Client, server: Running, pairs: Pairs) -> None:
    assert asked(raw, server, *pairs).hotwords == (Hotword("阿里巴巴"), Hotword("通义千问"))


def test_the_sdk_can_send_them(client: OpenAI, server: Running) -> None:
    client.audio.transcriptions.create(
        model="able", file=b"zh", extra_body={"hotwords": "阿里巴巴 20", "punctuation": False, "itn": True}
    )
    options = server.calls.options[-1]
    assert (options.hotwords[0].text, options.punctuation, options.itn) == ("阿里巴巴", False, True)


@pytest.mark.parametrize(
    ("said", "param"),
    [
        (("hotwords", '{"阿里": -1}'), "hotwords"),
        (("hotwords", '{"阿里": '), "hotwords"),
        (("hotwords", "长" * 201), "hotwords"),
        (("hotwords", " ".join(f"词{number}" for number in range(10_001))), "hotwords"),
        (("vocabulary_id", "长" * 513), "vocabulary_id"),
        (("vocabulary_id", '{"阿里": "重"}'), "vocabulary_id"),
        (("punctuation", "perhaps"), "punctuation"),
        (("enable_inverse_text_normalization", "2"), "enable_inverse_text_normalization"),
    ],
)
def test_what_makes_no_sense(raw: httpx.Client, server: Running, said: tuple[str, str], param: str) -> None:
    error = refused(raw, server, said)
    assert (error["param"], error["type"]) == (param, "invalid_request_error")


def test_too_many_together(raw: httpx.Client, server: Running) -> None:
    many = [("hotwords", " ".join(f"词{number}" for number in range(6_000)))]
    assert refused(raw, server, *many, ("vocabulary_id", " ".join(f"字{number}" for number in range(6_000))))


@pytest.mark.parametrize(
    ("pairs", "punctuation", "itn"),
    [
        ([], True, None),
        ([("punctuation", "false"), ("itn", "false")], False, False),
        ([("enable_punctuation_prediction", "0"), ("enable_inverse_text_normalization", "1")], False, True),
        ([("punctuation", "true"), ("enable_punctuation_prediction", "true")], True, None),
    ],
)
def test_marks_and_digits(
    raw: httpx.Client, server: Running, pairs: Pairs, punctuation: bool, itn: bool | None
) -> None:
    options = asked(raw, server, *pairs)
    assert (options.punctuation, options.itn) == (punctuation, itn)


def test_names_that_contradict_each_other(raw: httpx.Client, server: Running) -> None:
    error = refused(raw, server, ("itn", "true"), ("enable_inverse_text_normalization", "false"))
    assert "contradicts" in error["message"]


def test_what_cannot_be_had_is_refused_only_when_it_is_asked_for(raw: httpx.Client, server: Running) -> None:
    server.service.can_write(punctuation=False, numbers=False)
    plain = ("model", "group/unmarked")
    assert refused(raw, server, plain, ("punctuation", "true"))["code"] == "unsupported_feature"
    assert refused(raw, server, plain, ("itn", "true"))["code"] == "unsupported_feature"
    assert asked(raw, server, plain).punctuation
    server.service.can_write(punctuation=True, numbers=True)
    assert asked(raw, server, plain, ("punctuation", "true"), ("itn", "true")).itn


def test_hotwords_need_a_model_that_hears_them_or_correction(tmp_path: Path) -> None:
    (tmp_path / "uploads").mkdir()
    with (
        serving(tmp_path / "uploads", asr_hotword_correction=False) as server,
        httpx.Client(base_url=server.base, headers={"authorization": f"Bearer {KEY}"}) as raw,
    ):
        for name in ("keywords", "hotwords", "vocabulary_id"):
            error = refused(raw, server, ("model", "group/plain"), (name, "阿里"))
            assert (error["code"], error["param"]) == ("unsupported_feature", name)
        assert asked(raw, server, ("hotwords", "阿里")).hotwords == (Hotword("阿里"),)


def test_a_stored_vocabulary(raw: httpx.Client, server: Running) -> None:
    store = server.service.vocabularies
    mine = asyncio.run(store.create(_owner(KEY), "mine", [Hotword("阿里巴巴"), Hotword("达摩院", 2.0)]))
    options = asked(raw, server, ("vocabulary_id", mine.id), ("hotwords", "千问"))
    assert options.hotwords == (Hotword("千问"), Hotword("阿里巴巴"), Hotword("达摩院", 2.0))


def test_nobody_elses_vocabulary(raw: httpx.Client, server: Running) -> None:
    theirs = asyncio.run(server.service.vocabularies.create(_owner(OTHER_KEY), "theirs", [Hotword("秘密项目")]))
    for unknown in (theirs.id, "vocab_" + "a" * 24, "0123456789abcdef" * 2):
        error = refused(raw, server, ("vocabulary_id", unknown), status=404)
        assert (error["code"], error["param"]) == ("vocabulary_not_found", "vocabulary_id")


@pytest.mark.parametrize("shape", ["json", "verbose_json", "diarized_json"])
def test_which_hotwords_were_said_is_in_the_answer(
    raw: httpx.Client, server: Running, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    heard = replace(TRANSCRIPTS["zh"], hotwords=(HotwordHit("天气", 1, 1), HotwordHit("公园", 2)))
    monkeypatch.setitem(TRANSCRIPTS, "zh", heard)
    expected = [{"text": "天气", "count": 1, "corrected": 1}, {"text": "公园", "count": 2, "corrected": 0}]
    assert post(raw, ("response_format", shape)).json()["hotwords"] == expected
    streamed = post(raw, ("response_format", "json"), ("stream", "true")).text
    done = json.loads(streamed.split("data: ")[-2])
    assert (done["type"], done["hotwords"]) == ("transcript.text.done", expected)


def test_without_hits_there_is_no_such_field(raw: httpx.Client) -> None:
    assert "hotwords" not in post(raw, ("hotwords", "阿里"), ("response_format", "json")).json()


def test_terms_stay_out_of_the_log(raw: httpx.Client, server: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    refused(raw, server, ("hotwords", '{"绝密代号": -1}'))
    refused(raw, server, ("vocabulary_id", '{"绝密代号": -1}'))
    asked(raw, server, ("hotwords", "绝密代号 20"))
    assert "绝密代号" not in caplog.text


def _owner(key: str) -> str:
    """What the key's vocabularies are kept under."""
    return KeyRing((key,)).owner([(b"authorization", f"Bearer {key}".encode())])


# --- words to mask ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pairs", "masking"),
    [
        ([], ()),
        ([("sensitive_words", "")], ()),
        ([("sensitive_words_style", "remove")], ()),
        ([("sensitive_words", "飞鸟")], (Masking(("飞鸟",)),)),
        ([("sensitive_words", "飞鸟，Project Falcon,飞鸟")], (Masking(("飞鸟", "Project Falcon")),)),
        (
            [("sensitive_words", '["a, b", "c"]'), ("sensitive_words_style", "remove")],
            (Masking(("a, b", "c"), "remove"),),
        ),
        (
            [("sensitive_words[]", "飞鸟"), ("sensitive_words[]", "x"), ("sensitive_words_style", " Parentheses ")],
            (Masking(("飞鸟", "x"), "parentheses"),),
        ),
        ([("sensitive_words", "飞鸟"), ("sensitive_words_style", "stars")], (Masking(("飞鸟",)),)),
    ],
)
def test_sensitive_words(raw: httpx.Client, server: Running, pairs: Pairs, masking: tuple[Masking, ...]) -> None:
    assert asked(raw, server, *pairs).masking == masking


@pytest.mark.parametrize(
    ("pairs", "param"),
    [
        ([("sensitive_words", '["x"')], "sensitive_words"),
        ([("sensitive_words", '{"x": 1}')], "sensitive_words"),
        ([("sensitive_words", "[1]")], "sensitive_words"),
        ([("sensitive_words", "飞鸟,***")], "sensitive_words"),
        ([("sensitive_words", "长" * 201)], "sensitive_words"),
        ([("sensitive_words", ",".join(f"词{number}" for number in range(10_001)))], "sensitive_words"),
        ([("sensitive_words", "飞鸟"), ("sensitive_words_style", "beep")], "sensitive_words_style"),
        ([("sensitive_words_style", "beep")], "sensitive_words_style"),
    ],
)
def test_sensitive_words_that_make_no_sense(raw: httpx.Client, server: Running, pairs: Pairs, param: str) -> None:
    error = refused(raw, server, *pairs)
    assert (error["param"], error["type"]) == (param, "invalid_request_error")
    assert "飞鸟" not in error["message"]


@pytest.mark.parametrize(
    "name",
    ["sensitive_words", "sensitive_words[]", "sensitive_words[0]", "sensitive_words_style", "hotwords", "keywords[]"],
)
@pytest.mark.parametrize("others", [[], [("sensitive_words", "公园"), ("hotwords", "公园"), ("keywords", "公园")]])
def test_terms_in_a_file_are_not_overlooked(raw: httpx.Client, server: Running, name: str, others: Pairs) -> None:
    texts = [(field, (None, value.encode())) for field, value in others]
    answer = raw.post(PATH, files=[(name, ("words.txt", "飞鸟".encode())), ("file", ("a.wav", b"zh")), *texts])
    assert (answer.status_code, server.calls.options) == (400, [])
    assert answer.json()["error"]["param"] == name.partition("[")[0]


@pytest.mark.parametrize("name", ["sensitive_words", "hotwords", "keywords"])
def test_terms_in_brackets_that_no_list_has_are_not_overlooked(raw: httpx.Client, server: Running, name: str) -> None:
    error = refused(raw, server, (name, "公园"), (f"{name}[飞鸟]", "20"))
    assert error["param"] == name
    assert "飞鸟" not in error["message"]


def test_stored_sensitive_words(raw: httpx.Client, server: Running) -> None:
    store, words = server.service.vocabularies, [Hotword("飞鸟"), Hotword("Falcon")]
    mine = asyncio.run(store.create(_owner(KEY), "codes", words, kind="sensitive"))
    heard = asyncio.run(store.create(_owner(KEY), "people", [Hotword("王小明")], kind="class"))
    theirs = asyncio.run(store.create(_owner(OTHER_KEY), "codes", words, kind="sensitive"))
    assert asked(raw, server, ("sensitive_words", mine.id)).masking == (Masking(("飞鸟", "Falcon")),)
    both = asked(raw, server, ("sensitive_words", f"x, {mine.id}"), ("sensitive_words_style", "remove")).masking
    assert both == (Masking(("x", "飞鸟", "Falcon"), "remove"),)
    assert asked(raw, server, ("vocabulary_id", heard.id)).hotwords == (Hotword("王小明"),)
    server.calls.options.clear()
    for name, unknown in (
        ("sensitive_words", theirs.id),
        ("sensitive_words", heard.id),
        ("sensitive_words", "vocab_" + "a" * 24),
        ("vocabulary_id", mine.id),
    ):
        error = refused(raw, server, (name, unknown), status=404)
        assert (error["code"], error["param"]) == ("vocabulary_not_found", name)


def test_sensitive_words_stay_out_of_the_log(
    raw: httpx.Client, server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    for said in ('["绝密代号"', '{"绝密代号": 1}', "绝密代号" * 100):
        refused(raw, server, ("sensitive_words", said))
    asked(raw, server, ("sensitive_words", "绝密代号"))
    assert "绝密代号" not in caplog.text
