"""Recordings of the visitor's, streamed and uploaded; and what can be taken away."""

from __future__ import annotations

import itertools
import json
import re
import time
import wave
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from .browser import Visit, tone, visit, write_wav
from .fake_server import FakeServer, Sentence


def test_a_dropped_recording_is_streamed_at_the_speed_chosen(
    visitor: Visit, server: FakeServer, recording: Path
) -> None:
    visitor.drop(recording)
    assert visitor.page.inner_text("#file-name") == "recording.wav"
    visitor.set(speed="2")
    began = time.monotonic()
    visitor.page.click("#file-live")
    visitor.wait("() => document.querySelector('.pending .said')?.textContent.trim()")
    visitor.state("idle")
    assert time.monotonic() - began >= 1.9, "four seconds at twice the speed"
    assert visitor.sentences == ["Good morning, everybody.", "Shall we begin?"]
    samples = np.frombuffer(b"".join(server.frames), "<i2") / 32768
    assert len(samples) == pytest.approx(4 * 16_000, abs=2)
    assert int(np.abs(np.fft.rfft(samples[8_000:24_000])).argmax()) == 440


def test_streaming_a_recording_can_be_stopped(visitor: Visit, server: FakeServer, recording: Path) -> None:
    visitor.drop(recording)
    visitor.page.click("#file-live")
    visitor.heard("Good morning, everybody.")
    visitor.page.click("#record")
    visitor.state("idle")
    assert server.seconds < 4


def test_an_upload_shows_who_said_what(visitor: Visit, server: FakeServer, recording: Path) -> None:
    visitor.page.wait_for_selector("#server[data-state=ready]")
    visitor.set(language="en", hotwords="one\ntwo")
    visitor.page.set_input_files("#file", recording)
    visitor.page.click("#file-upload")
    visitor.heard("Hello yourself.")
    visitor.state("idle")
    [sent] = server.uploads
    assert sent["response_format"] == "verbose_json"
    assert (sent["model"], sent["language"], sent["hotwords"]) == ("first-model", "en", "one\r\ntwo")
    assert sent["enable_speaker_diarization"] == sent["punctuation"] == sent["itn"] == "true"
    assert sent["timestamp_granularities[]"] == "word"
    assert (sent["name"], int(sent["bytes"])) == ("recording.wav", recording.stat().st_size)
    assert visitor.page.locator(".speaker").all_inner_texts() == ["Speaker1", "Speaker2"]
    assert visitor.page.locator(".word").last.get_attribute("data-times") == "2.50 – 3.00 s"
    assert visitor.save("txt").decode() == "Speaker1: Hello there.\nSpeaker2: Hello yourself.\n"
    assert visitor.page.is_disabled("#save-wav"), "nothing was heard live"


def test_an_upload_shows_how_far_it_has_come_and_can_be_given_up(
    visitor: Visit, server: FakeServer, recording: Path
) -> None:
    server.slow = 30
    visitor.page.set_input_files("#file", recording)
    visitor.page.click("#file-upload")
    visitor.page.locator("#file-state", has_text="Recognising").wait_for()
    assert visitor.page.is_visible("#file-progress")
    visitor.page.click("#record")
    visitor.state("idle")
    assert visitor.page.is_hidden("#file-progress")
    assert visitor.page.is_hidden("#notice")


def test_what_the_browser_cannot_read_can_still_be_uploaded(visitor: Visit, tmp_path: Path) -> None:
    path = tmp_path / "strange.amr"
    path.write_bytes(b"#!AMR\n" + bytes(range(256)) * 20)
    visitor.page.set_input_files("#file", path)
    visitor.page.click("#file-live")
    visitor.page.wait_for_selector("#notice:not([hidden])")
    assert "cannot read" in visitor.page.inner_text("#notice-title")
    assert "Upload it instead" in visitor.page.inner_text("#notice-steps")
    visitor.page.click("#file-upload")
    visitor.heard("Hello there.")


def test_the_downloads_say_what_was_said(visitor: Visit, server: FakeServer) -> None:
    visitor.record(3)
    assert visitor.save("txt").decode() == "Good morning, everybody.\nShall we begin?\n"
    assert visitor.save("srt").decode() == (
        "1\n00:00:00,400 --> 00:00:01,200\nGood morning, everybody.\n\n"
        "2\n00:00:01,600 --> 00:00:02,400\nShall we begin?\n\n"
    )
    assert visitor.save("vtt").decode() == (
        "WEBVTT\n\n00:00:00.400 --> 00:00:01.200\nGood morning, everybody.\n\n"
        "00:00:01.600 --> 00:00:02.400\nShall we begin?\n\n"
    )
    body = json.loads(visitor.save("json"))
    assert body["takes"][0] | {"protocol": "aliyun", "kind": "microphone"} == body["takes"][0]
    assert [one["text"] for one in body["sentences"]] == ["Good morning, everybody.", "Shall we begin?"]
    assert body["sentences"][0]["words"][0] == {"text": "Good", "start": 0.4, "end": 0.667}
    with wave.open(BytesIO(visitor.save("wav"))) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (16_000, 1, 2)
        assert sound.readframes(sound.getnframes()) == b"".join(server.frames)
    name = visitor.download("srt").suggested_filename
    assert re.fullmatch(r"speech-\d{8}-\d{6}\.srt", name)


def test_long_sentences_become_subtitles_that_can_be_read(chrome: Browser, server: FakeServer, tmp_path: Path) -> None:
    english = " ".join(f"word{number}," if number % 9 == 8 else f"word{number}" for number in range(40)) + "."
    chinese = "这是一个很长的句子，" * 12 + "到此为止。"
    server.script = [Sentence(english, 0.1, 14.0), Sentence(chinese, 14.5, 45.0)]
    recording = write_wav(tmp_path / "long.wav", tone(440, 16, 8_000), 8_000)
    with visit(chrome, server.base) as visitor:
        visitor.drop(recording)
        visitor.set(speed="4")
        visitor.page.click("#file-live")
        visitor.state("listening")
        visitor.state("idle")
        cues = visitor.save("srt").decode().strip().split("\n\n")
    texts, spans = [], []
    for cue in cues:
        _, times, *lines = cue.split("\n")
        assert 1 <= len(lines) <= 2
        assert all(sum(2 if ord(sign) > 0x2E80 else 1 for sign in line) <= 52 for line in lines), lines
        texts.append("".join(lines) if ord(lines[0][0]) > 0x2E80 else " ".join(lines))
        spans.append([float(part[3:5]) * 60 + float(part[6:].replace(",", ".")) for part in times.split(" --> ")])
    assert all(0 < end - start <= 7.01 for start, end in spans)
    assert all(before[1] <= after[0] + 1e-6 for before, after in itertools.pairwise(spans))
    said = [text for text in texts if text.startswith("word")]
    assert " ".join(said) == english
    assert "".join(text for text in texts if not text.startswith("word")) == chinese


def test_the_transcript_can_be_copied(chrome: Browser, server: FakeServer) -> None:
    with visit(chrome, server.base, permissions=["clipboard-read", "clipboard-write", "microphone"]) as visitor:
        assert visitor.page.is_disabled("#copy")
        visitor.record(3)
        visitor.page.click("#copy")
        visitor.page.locator("#copy-label", has_text="Copied").wait_for()
        copied = visitor.page.evaluate("navigator.clipboard.readText()")
        assert copied == "[0:00] Good morning, everybody.\n[0:01] Shall we begin?"


def test_clearing_leaves_nothing(visitor: Visit) -> None:
    visitor.record(2)
    visitor.page.click("#clear")
    assert visitor.page.locator(".sentence").count() == 0
    assert visitor.page.inner_text("#delay-first") == "–"
    assert visitor.page.is_visible(".empty-line")
    for button in ("#copy", "#clear", "#save-srt", "#save-wav"):
        assert visitor.page.is_disabled(button), button
