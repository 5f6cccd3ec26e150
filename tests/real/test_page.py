"""The page as its visitors have it: a real browser, the real server, a real recording in the microphone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Playwright, sync_playwright
from web.browser import PHONE, browser, visit, write_wav

from .conftest import Listen
from .scoring import character_errors, parse_srt, word_error_rate
from .server import RealServer

KENNEDY = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
SHAREHOLDERS = "富士康在印度工厂出现大规模感染目前工厂产量已下降超百分之五十"
LEAD, TAIL = 0.7, 2.0
"""Seconds of silence round a clip: a microphone is on before somebody speaks, and for a while after."""


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


def clip(source: Path, folder: Path) -> tuple[Path, float]:
    """It as a microphone plays it, and how long that takes."""
    samples, rate = soundfile.read(source, dtype="float64", always_2d=True)
    padded = np.concatenate([np.zeros(round(LEAD * rate)), samples.mean(axis=1), np.zeros(round(TAIL * rate))])
    return write_wav(folder / "microphone.wav", padded, rate), len(padded) / rate


def seconds(stamp: str) -> float:
    minutes, rest = stamp.split(":")
    return 60 * int(minutes) + int(rest)


@pytest.mark.parametrize("protocol", ["aliyun", "funasr", "qwen"])
def test_english_speech_becomes_text_while_it_is_said(
    playwright: Playwright, real_server: RealServer, shared_audio: Path, tmp_path: Path, protocol: str
) -> None:
    sound, length = clip(shared_audio / "en_jfk.flac", tmp_path)
    with browser(playwright, sound) as started, visit(started, real_server.base) as visitor:
        visitor.page.wait_for_selector("#server[data-state=ready]")
        visitor.set(protocol=protocol, language="en", echo=False, noise=False)
        visitor.page.click("#record")
        visitor.wait("() => Number(document.getElementById('meter').getAttribute('aria-valuenow')) > 40")
        visitor.wait("() => document.querySelector('#sentences .said')?.textContent.trim()")
        assert seconds(visitor.page.inner_text("#elapsed")) < length - TAIL, "no words before the clip's end"
        visitor.played(length)
        visitor.page.click("#record")
        visitor.state("idle")
        said = " ".join(visitor.sentences)
        assert word_error_rate(KENNEDY, said) <= 0.15, said
        assert visitor.pending == ""
        cues = parse_srt(visitor.save("srt").decode())
        assert " ".join(text.replace("\n", " ") for _, _, text in cues) == said
        assert 0.3 < cues[0][0] < LEAD + 1.5
        assert cues[-1][1] < length
        assert re.fullmatch(r"\d+\.\d\d s", visitor.page.inner_text("#delay-final"))
        # Words lie where they were said: "country" is both in the middle and at the end.
        times = visitor.page.locator(".word", has_text="country").evaluate_all(
            "all => all.map(word => Number(word.dataset.times.split(' ')[0]))"
        )
        assert len(times) == 2
        assert 4 < times[0] < 8 < times[1] < length - TAIL


def test_chinese_speech_on_a_phone_with_a_chinese_browser(
    playwright: Playwright, real_server: RealServer, shared_audio: Path, tmp_path: Path
) -> None:
    sound, length = clip(shared_audio / "zh_aishell_long.wav", tmp_path)
    with (
        browser(playwright, sound) as started,
        visit(started, real_server.base, locale="zh-CN", viewport=PHONE, has_touch=True, is_mobile=True) as visitor,
    ):
        visitor.page.wait_for_selector("#server[data-state=ready]")
        assert visitor.page.inner_text("#server-state") == "就绪"
        visitor.page.tap("#record")
        visitor.wait("() => document.querySelector('#sentences .said')?.textContent.trim()")
        visitor.played(length)
        visitor.page.tap("#record")
        visitor.state("idle")
        said = "".join(visitor.sentences)
        heard = said.replace("50%", "百分之五十")
        assert character_errors(SHAREHOLDERS, heard) <= 6, said
        assert visitor.fits()
        visitor.page.tap("#open-settings")
        assert visitor.page.is_visible("#hotwords")
        assert visitor.fits()


def test_a_dropped_recording_is_streamed_as_if_it_were_live(
    playwright: Playwright, real_server: RealServer, shared_audio: Path, tmp_path: Path
) -> None:
    silence = write_wav(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    with browser(playwright, silence) as started, visit(started, real_server.base) as visitor:
        visitor.page.wait_for_selector("#server[data-state=ready]")
        visitor.set(language="en")
        visitor.drop(shared_audio / "en_jfk.flac")
        visitor.page.click("#file-live")
        visitor.wait("() => document.querySelector('.pending .said')?.textContent.trim()")
        visitor.state("idle")
        said = " ".join(visitor.sentences)
        assert word_error_rate(KENNEDY, said) <= 0.15, said


def test_an_uploaded_recording_comes_back_with_its_speakers(
    playwright: Playwright, real_server: RealServer, phone_call: Path, listen: Listen
) -> None:
    call = phone_call / "sample.wav"
    with browser(playwright, call) as started, visit(started, real_server.base) as visitor:
        visitor.page.wait_for_selector("#server[data-state=ready]")
        visitor.drop(call)
        visitor.page.click("#file-upload")
        visitor.page.locator(".speaker").first.wait_for(timeout=60_000)
        visitor.state("idle")
        assert word_error_rate(listen(call)["text"], " ".join(visitor.sentences)) <= 0.1
        assert set(visitor.page.locator(".speaker").all_inner_texts()) == {"Speaker1", "Speaker2"}
        assert re.match(r"1\n\S+ --> \S+\n\[Speaker[12]\] ", visitor.save("srt").decode())
        body = json.loads(visitor.save("json"))
        assert body["takes"][0]["model"] == "whisper-base"
        words = [word for one in body["sentences"] for word in one["words"]]
        assert len(words) > 0.9 * len(listen(call)["words"])
        assert all(0 <= word["start"] <= word["end"] <= 30 for word in words)


def test_a_wish_that_cannot_be_fulfilled_is_shown_with_the_servers_reason(
    playwright: Playwright, real_server: RealServer, phone_call: Path
) -> None:
    with browser(playwright, phone_call / "sample.wav") as started, visit(started, real_server.base) as visitor:
        visitor.page.wait_for_selector("#server[data-state=ready]")
        visitor.page.evaluate("document.getElementById('model').append(new Option('no-such-model', 'no-such-model'))")
        visitor.set(model="no-such-model")
        visitor.page.click("#record")
        visitor.page.wait_for_selector("#notice:not([hidden])")
        assert "no-such-model" in visitor.page.inner_text("#notice-detail")
        visitor.state("idle")
