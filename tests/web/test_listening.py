"""Live: words appear while they are said, and the server gets what was set and what was heard."""

from __future__ import annotations

import json
import re
import wave
from io import BytesIO

import numpy as np
import pytest
from playwright.sync_api import Browser

from .browser import Visit, visit
from .fake_server import FakeServer, Sentence


@pytest.mark.parametrize("protocol", ["aliyun", "funasr", "qwen"])
def test_words_appear_while_they_are_said_and_become_sentences(
    visitor: Visit, server: FakeServer, protocol: str
) -> None:
    visitor.set(protocol=protocol)
    visitor.page.click("#record")
    visitor.wait("() => document.querySelector('.pending .said')?.textContent.trim() === 'Good'")
    assert server.seconds < 2, "it came too late to be live"
    visitor.heard("Good morning, everybody.")
    visitor.wait("() => document.querySelector('.pending .said')?.textContent.trim().startsWith('Shall')")
    visitor.heard("Shall we begin?")
    visitor.page.click("#record")
    visitor.state("idle")
    assert visitor.sentences == ["Good morning, everybody.", "Shall we begin?"]
    assert visitor.pending == ""
    assert visitor.page.locator(".moment").all_inner_texts() == ["0:00", "0:01"]


def test_texts_without_italics_are_upright(chrome: Browser, server: FakeServer) -> None:
    server.script = [Sentence("今天天气很好。", 0.4, 5.0), Sentence("Well then.", 0.4, 5.0)]
    with visit(chrome, server.base) as visitor:
        visitor.page.click("#record")
        visitor.wait("() => document.querySelectorAll('.pending .said').length === 2")
        visitor.wait("() => [...document.querySelectorAll('.pending .said')].every((said) => said.textContent)")
        styles = visitor.page.locator(".pending .said").evaluate_all(
            "all => all.map(p => getComputedStyle(p).fontStyle)"
        )
        assert styles == ["normal", "italic"]


def test_words_tell_their_times(visitor: Visit) -> None:
    visitor.record(2)
    times = dict(visitor.page.locator(".word").evaluate_all("all => all.map(w => [w.textContent, w.dataset.times])"))
    assert times["Good"] == "0.40 – 0.67 s"
    assert times["everybody"] == "0.93 – 1.20 s"
    visitor.page.hover(".word >> text=morning")
    shown = visitor.page.locator(".word >> text=morning").evaluate("word => getComputedStyle(word, '::after').content")
    assert shown == '"0.67 – 0.93 s"'


def test_delays_are_counted_from_what_was_said(visitor: Visit) -> None:
    """The server answers at once, so they are near nothing; they would be seconds if counted from elsewhere."""
    visitor.page.click("#record")
    visitor.heard("Shall we begin?")
    for which in ("first", "final"):
        said = visitor.page.inner_text(f"#delay-{which}")
        assert 0 <= float(said.removesuffix(" s")) < 1.0, (which, said)


def test_a_sentence_that_turns_out_to_be_empty_goes(chrome: Browser, server: FakeServer) -> None:
    server.script = [Sentence("Hm", 0.3, 0.8), Sentence("Hello.", 1.2, 1.8)]
    server.unsaid = {1}
    with visit(chrome, server.base) as visitor:
        visitor.page.click("#record")
        visitor.wait("() => document.querySelector('.pending .said')?.textContent === 'Hm'")
        visitor.heard("Hello.")
        assert visitor.page.locator(".sentence").count() == 1


def test_the_server_is_told_what_was_set(visitor: Visit, server: FakeServer) -> None:
    visitor.page.wait_for_selector("#server[data-state=ready]")
    visitor.set(model="second-model", language="zh", hotwords="Anthony Burgess\n\n  巴黎  ", silence="1200")
    visitor.set(punctuation=False, itn=False, words=False)
    visitor.record(1)
    [start] = server.starts
    assert start["model"] == "second-model"
    assert start["language"] == "zh"
    assert start["hotwords"] == ["Anthony Burgess", "巴黎"]
    assert start["max_sentence_silence"] == 1200
    assert start["enable_intermediate_result"] is True
    assert {start[f"enable_{name}"] for name in ("punctuation_prediction", "inverse_text_normalization", "words")} == {
        False
    }
    assert (start["format"], start["sample_rate"]) == ("pcm", 16_000)


def test_funasr_is_told_what_it_knows(visitor: Visit, server: FakeServer) -> None:
    visitor.page.wait_for_selector("#server[data-state=ready]")
    visitor.set(protocol="funasr", language="en", hotwords="Burgess", itn=False)
    assert visitor.page.is_disabled("#silence"), "it has no word for that"
    visitor.record(1)
    [start] = server.starts
    assert start["mode"] == "2pass"
    assert start["audio_fs"] == 16_000
    assert (start["language"], start["itn"], start["model"]) == ("en", False, "first-model")
    assert json.loads(start["hotwords"]) == {"Burgess": 20}


def test_the_sound_arrives_whole_and_in_small_frames(visitor: Visit, server: FakeServer) -> None:
    visitor.record(3)
    sizes = [len(frame) for frame in server.frames]
    assert set(sizes[:-1]) == {2560}, "80 ms of 16 kHz"
    assert 0 < sizes[-1] <= 2560
    samples = np.frombuffer(b"".join(server.frames), "<i2") / 32768
    spectrum = np.abs(np.fft.rfft(samples[16_000:32_000] * np.hanning(16_000)))
    assert abs(int(spectrum.argmax()) - 1000) <= 1, "Hz of the loudest part"
    # Nothing missing or repeated between frames: that would smear the tone.
    assert spectrum[995:1006].max() > 500 * np.median(spectrum)


def test_the_meter_follows_the_sound(visitor: Visit) -> None:
    level = "Number(document.getElementById('meter').getAttribute('aria-valuenow'))"
    assert visitor.page.evaluate(level) == 0
    painted = "document.getElementById('meter').toDataURL()"
    at_rest = visitor.page.evaluate(painted)
    visitor.page.click("#record")
    visitor.wait(f"() => {level} > 50")
    visitor.wait(f"([before]) => {painted} !== before", at_rest)
    visitor.page.click("#record")
    visitor.state("idle")
    assert visitor.page.evaluate(level) == 0


def test_the_space_bar_starts_and_stops_but_not_while_somebody_types(visitor: Visit) -> None:
    visitor.page.locator("#hotwords").press_sequentially("two words")
    assert visitor.page.evaluate("document.body.dataset.state") == "idle"
    visitor.page.click("#stage-title")
    visitor.page.keyboard.press("Space")
    visitor.state("listening")
    visitor.page.keyboard.press("Space")
    visitor.state("idle")


def test_takes_follow_each_other_on_one_line_of_time(visitor: Visit) -> None:
    visitor.record(3)
    visitor.record(3)
    assert visitor.sentences == ["Good morning, everybody.", "Shall we begin?"] * 2
    cues = re.findall(r"(\d\d:\d\d:\d\d,\d{3}) -->", visitor.save("srt").decode())
    starts = [
        sum(float(part) * 60**at for at, part in enumerate(reversed(cue.replace(",", ".").split(":")))) for cue in cues
    ]
    with wave.open(BytesIO(visitor.save("wav"))) as sound:
        seconds = sound.getnframes() / sound.getframerate()
    first_take = starts[2] - 0.4
    assert starts == pytest.approx([0.4, 1.6, first_take + 0.4, first_take + 1.6], abs=0.002)
    assert 3 <= first_take <= seconds - 3


ASKED = """() => {
    window.asked = [];
    const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = (wishes) => {
        window.asked.push(wishes.audio);
        return real(wishes);
    };
}"""


def test_the_microphone_is_the_chosen_one_and_treated_as_chosen(visitor: Visit) -> None:
    visitor.page.evaluate(ASKED)
    visitor.record(1)
    named = visitor.page.locator("#device option").all_inner_texts()
    assert named[0] == "The system's default"
    assert len(named) > 1, "they have names once one was used"
    other = visitor.page.locator("#device option").nth(1).get_attribute("value") or ""
    visitor.set(device=other, echo=True)
    visitor.record(1)
    first, second = visitor.page.evaluate("window.asked")
    assert "deviceId" not in first
    assert (first["channelCount"], first["echoCancellation"], first["noiseSuppression"]) == (1, False, False)
    assert second["deviceId"] == {"exact": other}
    assert (second["echoCancellation"], second["noiseSuppression"]) == (True, False)
