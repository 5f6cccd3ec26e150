"""Who speaks, live on the page: asked for only when that is wanted, shown beside what they say, and saved with it."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Browser

from .browser import Visit, visit
from .fake_server import FakeServer, Sentence

TALK = [Sentence("Good morning.", 0.4, 1.0, "Anna"), Sentence("Shall we begin?", 1.0, 1.8, "Speaker2")]
SWITCH = "#live-speakers"


def able(visitor: Visit) -> None:
    """Wait until the server has said that it can."""
    visitor.wait("() => !document.getElementById('live-speakers').disabled")


@pytest.mark.parametrize("protocol", ["aliyun", "funasr"])
def test_speakers_stand_beside_what_they_say(visitor: Visit, server: FakeServer, protocol: str) -> None:
    server.script = TALK
    able(visitor)
    visitor.set(protocol=protocol, live_speakers=True)
    visitor.record(2)
    assert server.starts[-1]["enable_speaker_diarization"] is True
    assert visitor.sentences == ["Good morning.", "Shall we begin?"]
    assert visitor.page.locator(".speaker").all_inner_texts() == ["Anna", "Speaker2"]
    assert b"[Anna] Good morning." in visitor.save("srt")
    saved = json.loads(visitor.save("json"))
    assert [sentence["speaker"] for sentence in saved["sentences"]] == ["Anna", "Speaker2"]


@pytest.mark.parametrize("protocol", ["aliyun", "funasr"])
def test_nobody_is_asked_for_unless_somebody_wants_it(visitor: Visit, server: FakeServer, protocol: str) -> None:
    able(visitor)
    visitor.set(protocol=protocol)
    assert not visitor.page.is_checked(SWITCH)
    visitor.record(1)
    assert "enable_speaker_diarization" not in server.starts[-1]


def test_a_server_that_cannot_is_not_asked(chrome: Browser, server: FakeServer) -> None:
    """Though the switch was on when the page was left."""
    with visit(chrome, server.base) as visitor:
        able(visitor)
        visitor.set(echo=False, noise=False, live_speakers=True)
        server.speakers = False
        visitor.page.reload()
        visitor.wait("() => document.getElementById('server').dataset.state === 'ready'")
        assert visitor.page.is_checked(SWITCH)
        assert visitor.page.is_disabled(SWITCH)
        visitor.record(1)
    assert "enable_speaker_diarization" not in server.starts[-1]


def test_the_switch_is_named_in_both_languages(visitor: Visit) -> None:
    label = visitor.page.locator(f"label:has({SWITCH})")
    assert label.inner_text() == "Speakers (live)"
    visitor.page.click("[data-language=zh]")
    assert label.inner_text() == "区分说话人（实时）"
