"""The page in Qwen's live protocol: words appear while they are said, and settings and sound arrive."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from app.protocols.qwen.parameters import KNOWN

from .browser import Visit, visit
from .fake_server import FakeServer, Sentence, fake_server


@pytest.fixture
def qwen(visitor: Visit) -> Visit:
    """Somebody on the page who has chosen it."""
    visitor.page.wait_for_selector("#server[data-state=ready]")
    visitor.set(protocol="qwen")
    return visitor


def test_words_appear_while_they_are_said_and_become_sentences(qwen: Visit, server: FakeServer) -> None:
    qwen.page.click("#record")
    qwen.wait("() => document.querySelector('.pending .said')?.textContent.trim() === 'Good'")
    assert server.seconds < 2, "it came too late to be live"
    qwen.heard("Good morning, everybody.")
    qwen.heard("Shall we begin?")
    qwen.page.click("#record")
    qwen.state("idle")
    assert qwen.sentences == ["Good morning, everybody.", "Shall we begin?"]
    assert qwen.pending == ""
    assert qwen.page.locator(".moment").all_inner_texts() == ["0:00", "0:01"]
    for which in ("first", "final"):
        said = qwen.page.inner_text(f"#delay-{which}")
        assert 0 <= float(said.removesuffix(" s")) < 1.0, (which, said)


def test_what_is_being_said_at_the_end_is_not_lost(qwen: Visit, server: FakeServer) -> None:
    server.script = [Sentence("Good morning.", 0.2, 0.6), Sentence("Shall we begin?", 0.8, 60.0, "Anna")]
    qwen.record(2)
    assert qwen.sentences == ["Good morning.", "Shall we begin?"]
    assert qwen.page.locator(".sentence").nth(1).get_by_text("Anna").count() == 1


def test_what_two_people_say_in_a_segment_is_two_sentences(qwen: Visit, server: FakeServer) -> None:
    server.script = [Sentence("Yes indeed. – Not really.", 0.4, 1.4, "Anna"), Sentence("Well.", 1.5, 1.8)]
    qwen.set(live_speakers=True)
    qwen.record(2.5)
    assert server.starts[0]["enable_speaker_diarization"] is True
    assert qwen.sentences == ["Yes indeed.", "Not really.", "Well."]
    assert [text for text in qwen.page.locator(".speaker").all_inner_texts() if text] == ["Anna", "Somebody"]
    assert qwen.page.locator(".sentence").nth(1).locator(".word").all_inner_texts() == ["Not", "really"]


def test_words_tell_their_times(qwen: Visit) -> None:
    qwen.record(2)
    times = dict(qwen.page.locator(".word").evaluate_all("all => all.map(w => [w.textContent, w.dataset.times])"))
    assert times["Good"] == "0.40 – 0.67 s"


def test_a_sentence_that_turns_out_to_be_empty_goes(qwen: Visit, server: FakeServer) -> None:
    server.script = [Sentence("Hm", 0.3, 0.8), Sentence("Hello.", 1.2, 1.8)]
    server.unsaid = {1}
    qwen.page.click("#record")
    qwen.wait("() => document.querySelector('.pending .said')?.textContent === 'Hm'")
    qwen.heard("Hello.")
    assert qwen.page.locator(".sentence").count() == 1


def test_the_server_is_told_what_was_set(qwen: Visit, server: FakeServer) -> None:
    qwen.set(model="second-model", language="zh", hotwords="Anthony Burgess\n\n  巴黎  ", silence="1200")
    qwen.set(punctuation=False, itn=False, words=False)
    assert not qwen.page.is_disabled("#silence")
    qwen.record(1)
    [start] = server.starts
    assert start == {
        "format": "pcm",
        "sample_rate": 16_000,
        "chunk_size_sec": 0.1,
        "enable_punctuation_prediction": False,
        "enable_inverse_text_normalization": False,
        "word_timestamps": False,
        "max_sentence_silence": 1200,
        "model": "second-model",
        "language": "zh",
        "hotwords": ["Anthony Burgess", "巴黎"],
    }
    assert {len(frame) for frame in server.frames[:-1]} == {2560}


def test_what_the_page_says_is_what_the_server_takes(qwen: Visit, server: FakeServer) -> None:
    """The names are those of the real server's list; it would tell of others, and the page would not show it."""
    qwen.set(language="zh", hotwords="巴黎")
    qwen.record(1)
    assert set(server.starts[0]) <= KNOWN


def test_a_wrong_token_is_told(chrome: Browser) -> None:
    with fake_server(key="secret") as server, visit(chrome, server.base) as visitor:
        visitor.set(protocol="qwen", token="wrong")
        visitor.page.click("#record")
        visitor.page.wait_for_selector("#notice:not([hidden])")
        visitor.state("idle")
        assert visitor.page.inner_text("#notice-title") == "The server does not know this token"


def test_a_refusal_is_told_in_the_servers_words(qwen: Visit, server: FakeServer) -> None:
    server.refusal = "chunk_size_sec must be a number."
    qwen.page.click("#record")
    qwen.page.wait_for_selector("#notice:not([hidden])")
    qwen.state("idle")
    assert qwen.page.inner_text("#notice-detail") == server.refusal
