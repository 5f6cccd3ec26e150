"""Somebody at the page's tab of jobs."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from .browser import PATIENCE
from .jobs_server import FakeJobs


@dataclass
class JobDesk:
    """The `page`, and what the server behind it keeps."""

    page: Page
    fake: FakeJobs

    def row(self, name: str) -> Locator:
        return self.page.locator("#jobs-rows .row").filter(has=self.page.get_by_text(name, exact=True))

    def open(self, name: str) -> None:
        self.row(name).click()
        expect(self.page.locator("#job-title")).to_have_text(name, timeout=PATIENCE)

    def shows(self, selector: str, text: str | re.Pattern[str]) -> None:
        expect(self.page.locator(selector)).to_have_text(text, timeout=PATIENCE)

    def says(self, *texts: str) -> None:
        """Wait until the job's text is this."""
        expect(self.page.locator("#job-text .said")).to_have_text(list(texts), timeout=PATIENCE)

    def answer(self, answer: str, question: str) -> None:
        dialog = self.page.locator("dialog[open]")
        expect(dialog.locator("h2")).to_have_text(question, timeout=PATIENCE)
        dialog.locator(f"[data-answer={answer}]").click()

    def add(self, *paths: Path) -> None:
        """Choose files and send them."""
        if not self.page.locator("#job-form").is_visible():
            self.page.click("#job-new")
        self.page.set_input_files("#job-file", paths)
        self.page.click("#job-send")

    def saved(self, name: str) -> tuple[str, str]:
        self.page.click("#job-save > summary")
        with self.page.expect_download() as waiting:
            self.page.click(f"#job-save-{name}")
        return waiting.value.suggested_filename, Path(waiting.value.path()).read_text("utf-8")


def made(folder: Path, name: str, size: int) -> Path:
    path = folder / name
    path.write_bytes(os.urandom(size))
    return path
