"""The documents' pictures of the page: a real server, a real browser, a real recording in its microphone.

    python -m benchmarks.pictures

makes `live.png`, `live-zh.png`, `live.gif` and `jobs.png` in docs/pictures (`--only jobs.png`: that one). It needs
Chromium; the fonts Inter and Noto Sans CJK make the letters those of the pictures that are there. On a busy machine the
words come later, and the pictures show it.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile
import soxr
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from app.modelstore.catalog import PHONE_CALL
from app.modelstore.store import ModelStore
from app.settings import Settings
from benchmarks.server import ROOT, Server

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_SHARED = ROOT.parent / "shared" / "audio"
_ENGLISH = ("en_jfk.flac", "en_steve_jobs_10s.wav")
_CHINESE = ("zh_asr_example.wav", "zh_aishell_long.wav")
_RATE, _LEAD, _PAUSE = 16_000, 0.6, 1.1
_DESK, _SMALL = {"width": 1140, "height": 700}, {"width": 960, "height": 600}
_UNDERWAY = {"en": 30, "zh": 14}
"""Letters that a sentence must have when its picture is taken."""
_FRAMES_A_SECOND, _LONGEST, _COLOURS = 8, 12.0, 128
_PATIENCE = 60_000
_PICTURES = ("live.png", "live-zh.png", "live.gif", "jobs.png")
_CALLS = {"Tuesday's call.wav": 1, "Interview with a reader.wav": 40, "Board meeting, second part.wav": 3}
"""Recordings of a list of jobs: names, and how many times as long as the phone call they are."""


def main() -> None:
    """Make those that are wanted."""
    arguments = _arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    english, chinese = (_clips(arguments.audio, names) for names in (_ENGLISH, _CHINESE))
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "log", DATA_DIR=folder) as server:
        url, sound = server.url, Path(folder) / "sound.wav"
        makers: dict[str, Callable[[Path], None]] = {
            "live.png": lambda path: _still(url, sound, english, path, language="en", colours="light"),
            "live-zh.png": lambda path: _still(url, sound, chinese, path, language="zh", colours="dark"),
            "live.gif": lambda path: _film(url, sound, english[:1], path),
            "jobs.png": lambda path: _jobs(url, sound, path),
        }
        for name in arguments.only or makers:
            made = arguments.out / name
            makers[name](made)
            print(f"{made}: {made.stat().st_size / 1e3:.0f} kB")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, default=_SHARED, help="a folder with the recordings; else a phone call")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    parser.add_argument("--only", action="append", choices=_PICTURES, help="this one; may be given several times")
    return parser.parse_args()


def _clips(folder: Path, names: Sequence[str]) -> list[Path]:
    found = [folder / name for name in names if (folder / name).is_file()]
    return found or [ModelStore(Settings()).ensure(PHONE_CALL.id) / "sample.wav"]


def _join(clips: Sequence[Path], path: Path) -> None:
    """One after another with pauses, as a microphone plays them."""
    parts = [np.zeros(round(_LEAD * _RATE))]
    for clip in clips:
        samples, rate = soundfile.read(clip, dtype="float64", always_2d=True)
        mono = soxr.resample(samples.mean(axis=1), rate, _RATE)
        parts += [mono * 0.5 / max(1e-9, np.abs(mono).max()), np.zeros(round(_PAUSE * _RATE))]
    soundfile.write(path, np.concatenate([*parts, np.zeros(10 * _RATE)]), _RATE, subtype="PCM_16")


# --- the browser ------------------------------------------------------------------------------------------------------


@contextmanager
def _browser(sound: Path) -> Iterator[Browser]:
    executable = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if executable is None:
        sys.exit(f"no browser: install one of {', '.join(_BROWSERS)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=[
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-audio-capture={sound}%noloop",
                "--hide-scrollbars",
            ],
        )
        try:
            yield browser
        finally:
            browser.close()


def _open(browser: Browser, url: str, language: str, **how: Any) -> tuple[BrowserContext, Page]:
    """The page, ready to listen. The recordings are clean: nothing needs to be suppressed."""
    context = browser.new_context(locale={"en": "en-GB", "zh": "zh-CN"}[language], **how)
    kept = json.dumps({"language": language, "echo": False, "noise": False})
    context.add_init_script(f"localStorage.setItem('speech.settings', {json.dumps(kept)})")
    page = context.new_page()
    page.goto(f"{url}/ws/v1/asr/test")
    page.wait_for_selector("#server[data-state=ready]")
    page.mouse.move(1, 1)
    return context, page


def _still(url: str, sound: Path, clips: Sequence[Path], path: Path, *, language: str, colours: Any) -> None:
    """The page in the middle of the last clip: sentences, and one that is being said."""
    _join(clips, sound)
    began = _LEAD + sum(soundfile.info(clip).duration + _PAUSE for clip in clips[:-1])
    with _browser(sound) as browser:
        context, page = _open(browser, url, language, viewport=_DESK, color_scheme=colours)
        page.keyboard.press("Space")
        page.wait_for_function(
            """([least, length]) => {
                const last = document.querySelector(".sentence.pending:last-child");
                const [minutes, seconds] = (last?.querySelector(".moment").textContent ?? "0:0").split(":").map(Number);
                const said = last?.querySelector(".said").textContent.trim() ?? "";
                return 60 * minutes + seconds >= least && said.length >= length;
            }""",
            arg=[began - 1, _UNDERWAY[language]],
            timeout=_PATIENCE,
        )
        _shoot(context, page, path)


def _shoot(context: BrowserContext, page: Page, path: Path) -> None:
    """What is on the screen. Only now as fine as the picture: painting takes processors that the recogniser needs."""
    session = context.new_cdp_session(page)
    session.send("Emulation.setDeviceMetricsOverride", {**_DESK, "deviceScaleFactor": 2, "mobile": False})
    page.wait_for_timeout(200)  # what is new has come in
    shot = session.send("Page.captureScreenshot", {"format": "png"})  # Playwright's own would be coarse again
    picture = Image.open(io.BytesIO(base64.b64decode(shot["data"])))
    picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def _jobs(url: str, sound: Path, path: Path) -> None:
    """The list of jobs: one that is done, and its text; one that is worked on, and one that waits."""
    call = ModelStore(Settings()).ensure(PHONE_CALL.id) / "sample.wav"
    samples, rate = soundfile.read(call)
    with _browser(sound) as browser, httpx.Client(base_url=url, timeout=_PATIENCE / 1000, trust_env=False) as http:
        context, page = _open(browser, url, "en", viewport=_DESK, color_scheme="light")
        for name, times in _CALLS.items():
            content = io.BytesIO()
            soundfile.write(content, np.tile(samples, times), rate, format="WAV", subtype="PCM_16")
            http.post(
                "/v1/jobs", files={"file": (name, content.getvalue())}, data={"language": "en"}
            ).raise_for_status()
        page.click("#tab-jobs")
        first, second, _ = _CALLS
        _row(page, first).click()
        expect(page.locator("#job-state")).to_have_text("Done", timeout=_PATIENCE)
        expect(_row(page, second)).to_contain_text(re.compile(r"[3-9]\d ?%"), timeout=_PATIENCE)
        page.locator("#job-body").evaluate("body => body.scrollTo(0, 0)")  # it followed the text while that grew
        _shoot(context, page, path)


def _row(page: Page, name: str) -> Locator:
    """A job's, in their list."""
    return page.locator("#jobs-rows .row").filter(has=page.get_by_text(name, exact=True))


# --- the film ---------------------------------------------------------------------------------------------------------


def _film(url: str, sound: Path, clips: Sequence[Path], path: Path) -> None:
    """Words appearing while they are said."""
    _join(clips, sound)
    length = min(_LONGEST, _LEAD + sum(soundfile.info(clip).duration for clip in clips))
    with _browser(sound) as browser:
        context, page = _open(browser, url, "en", viewport=_SMALL, color_scheme="light")
        shots = _watch(context, page, length)
    _assemble(shots, path)


def _watch(context: BrowserContext, page: Page, length: float) -> list[tuple[float, bytes]]:
    """What the browser painted, with the moments (seconds), from the press of the button until `length` later, or
    until the last sentence is final."""
    shots: list[tuple[float, bytes]] = []
    session = context.new_cdp_session(page)

    def keep(event: dict[str, Any]) -> None:
        shots.append((event["metadata"]["timestamp"], base64.b64decode(event["data"])))
        session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})

    session.on("Page.screencastFrame", keep)
    session.send("Page.startScreencast", {"format": "png", "everyNthFrame": 6})
    page.wait_for_timeout(500)
    page.keyboard.press("Space")
    page.wait_for_selector("body[data-state=listening]")
    end = time.monotonic() + length
    while (now := time.monotonic()) < end or (now < end + 5 and page.locator(".pending").count() > 0):
        page.wait_for_timeout(50)  # events are handled meanwhile
    page.wait_for_timeout(300)
    session.send("Page.stopScreencast")
    return shots


def _assemble(shots: Sequence[tuple[float, bytes]], path: Path) -> None:
    """At even steps, the newest picture of each; in one set of colours, so that still parts stay still."""
    first, last = shots[0][0], shots[-1][0]
    moments = np.arange(first, last, 1 / _FRAMES_A_SECOND)
    times = np.array([moment for moment, _ in shots])
    chosen = [shots[max(0, int(np.searchsorted(times, moment, "right")) - 1)][1] for moment in moments]
    frames = [Image.open(io.BytesIO(data)).convert("RGB") for data in chosen]
    palette = _palette(frames)
    drawn = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    step = round(1000 / _FRAMES_A_SECOND)
    durations = [step] * (len(drawn) - 1) + [2500]
    drawn[0].save(path, save_all=True, append_images=drawn[1:], duration=durations, loop=0, optimize=True)


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """Colours of the beginning, the middle and the end."""
    width, height = frames[0].size
    some = [frames[0], frames[len(frames) // 2], frames[-1]]
    sheet = Image.new("RGB", (width, height * len(some)))
    for place, frame in enumerate(some):
        sheet.paste(frame, (0, place * height))
    return sheet.quantize(_COLOURS, dither=Image.Dither.NONE)


if __name__ == "__main__":
    main()
