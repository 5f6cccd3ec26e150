"""A real browser without a window, whose microphone plays a file, on the page."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, BrowserContext, Download, Page, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
PAGE = "/ws/v1/asr/test"
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 700}
QUIET_MICROPHONE = {"echo": False, "noise": False}
PATIENCE = 20_000
"""Milliseconds until something that must happen has happened, on a busy machine."""


def chromium() -> str:
    """Where the browser is. Without one the test is skipped, where everything must run it fails."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        reason = f"no browser to show the page in: none of {', '.join(NAMES)} is installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@contextlib.contextmanager
def browser(playwright: Playwright, sound: Path, *arguments: str) -> Iterator[Browser]:
    """A browser in whose microphone `sound`, a WAV file, is heard once, from the moment the microphone is opened."""
    started = playwright.chromium.launch(
        executable_path=chromium(),
        args=[
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-audio-capture={sound}%noloop",
            *arguments,
        ],
    )
    try:
        yield started
    finally:
        started.close()


@dataclass
class Visit:
    """Somebody on the page. `complaints` is what the browser did not like."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    @property
    def sentences(self) -> list[str]:
        """The final sentences' texts."""
        return self.page.locator(".sentence:not(.pending) .said").all_inner_texts()

    @property
    def pending(self) -> str:
        """Text that may still change."""
        return " ".join(self.page.locator(".sentence.pending .said").all_inner_texts()).strip()

    def state(self, wanted: str) -> None:
        """Wait for it: idle, connecting, listening, finishing, uploading."""
        self.page.wait_for_selector(f"body[data-state={wanted}]", timeout=PATIENCE)

    def wait(self, expression: str, *arguments: Any) -> None:
        """Wait until it is true in the page."""
        self.page.wait_for_function(expression, arg=list(arguments) or None, timeout=PATIENCE)

    def heard(self, text: str) -> None:
        """Wait until a final sentence says so."""
        self.page.locator(".sentence:not(.pending) .said", has_text=text).first.wait_for(timeout=PATIENCE)

    def record(self, seconds: float) -> None:
        """Have the microphone on for so long by the sound's clock, and wait for the last words."""
        self.page.click("#record")
        self.state("listening")
        self.played(seconds)
        self.page.click("#record")
        self.state("idle")

    def played(self, seconds: float) -> None:
        """Wait until so much was sent."""
        self.wait("([least]) => Number(document.getElementById('elapsed').textContent.split(':')[1]) >= least", seconds)

    def set(self, **fields: bool | str) -> None:
        """Change settings by their ids."""
        for name, value in fields.items():
            target = f"#{name.replace('_', '-')}"
            if isinstance(value, bool):
                self.page.set_checked(target, value, force=True)
            elif self.page.locator(target).evaluate("field => field.tagName") == "SELECT":
                self.page.select_option(target, value)
            else:
                self.page.fill(target, value)
                self.page.locator(target).dispatch_event("change")

    def drop(self, path: Path) -> None:
        """Drop a file on the page, as a mouse would."""
        self.page.evaluate(
            """async ([name, base64]) => {
                const dropped = new DataTransfer();
                dropped.items.add(new File([Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0))], name));
                for (const type of ["dragenter", "dragover", "drop"]) {
                    const event = new DragEvent(type, { dataTransfer: dropped, bubbles: true, cancelable: true });
                    document.getElementById("scroller").dispatchEvent(event);
                }
            }""",
            [path.name, base64.b64encode(path.read_bytes()).decode()],
        )

    def save(self, name: str) -> bytes:
        """A download's bytes."""
        return Path(self.download(name).path()).read_bytes()

    def download(self, name: str) -> Download:
        self.page.click("#save > summary")
        with self.page.expect_download() as waiting:
            self.page.click(f"#save-{name}")
        return waiting.value

    def fits(self) -> bool:
        """Whether nothing is wider than the window."""
        wide = "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) <= innerWidth"
        return bool(self.page.evaluate(wide)) and bool(
            self.page.evaluate("(box => box.scrollWidth <= box.clientWidth)(document.getElementById('scroller'))")
        )


@contextlib.contextmanager
def memory(started: Browser, **how: Any) -> Iterator[BrowserContext]:
    """A browser's memory, with nothing in it yet."""
    context = started.new_context(**{"locale": "en-GB", "viewport": DESK, "accept_downloads": True} | how)
    try:
        yield context
    finally:
        context.close()


@contextlib.contextmanager
def visit(started: Browser, base: str, **how: Any) -> Iterator[Visit]:
    """The page, opened by somebody with an empty memory. What the browser complains of fails the test."""
    with memory(started, **how) as context, visited(context, base) as visitor:
        yield visitor


@contextlib.contextmanager
def visited(context: BrowserContext, base: str) -> Iterator[Visit]:
    """The page, opened in a tab of its own, otherwise as `visit`."""
    page = context.new_page()
    visitor = Visit(page)
    page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
    page.on("console", lambda said: said.type == "error" and visitor.complaints.append(said.text))
    page.goto(base + PAGE)
    page.wait_for_selector("body[data-ready]")
    try:
        yield visitor
        # An answer that is no success is told by the page, not by its programming.
        assert [text for text in visitor.complaints if "Failed to load resource" not in text] == []
    finally:
        page.close()


def write_wav(path: Path, samples: NDArray[np.floating[Any]], rate: int) -> Path:
    """16-bit mono."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def tone(hertz: float, seconds: float, rate: int, level: float = 0.3) -> NDArray[np.float64]:
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
