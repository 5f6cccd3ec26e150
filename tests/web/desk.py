"""Somebody at one of the page's tabs of stored lists."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Locator

from .browser import PATIENCE, Visit
from .list_server import Lists

PATHS = {"vocabularies": "vocabularies", "sensitive": "sensitive_words"}
"""Where the server has what a tab shows."""
BOTH = tuple(PATHS)
DROP = """async ([selector, files]) => {
    const dropped = new DataTransfer();
    for (const [name, base64] of files)
        dropped.items.add(new File([Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0))], name));
    for (const type of ["dragenter", "dragover", "drop"]) {
        const event = new DragEvent(type, { dataTransfer: dropped, bubbles: true, cancelable: true });
        document.querySelector(selector).dispatchEvent(event);
    }
}"""


@dataclass
class Desk:
    """The `visitor` at the tab `name`, and the `lists` that the server has of them."""

    visitor: Visit
    lists: Lists
    name: str = "vocabularies"

    @property
    def path(self) -> str:
        return PATHS[self.name]

    def part(self, selector: str) -> Locator:
        return self.visitor.page.locator(f"#view-{self.name} {selector}")

    def at(self, name: str) -> Desk:
        """The same visitor at another tab."""
        self.visitor.page.click(f"#tab-{name}")
        return Desk(self.visitor, self.lists, name)

    def enter(self) -> Desk:
        """Type the token, and go to the tab."""
        self.visitor.page.wait_for_selector("#server:not([data-state=asking])")
        self.visitor.set(token=self.lists.key)
        self.visitor.page.wait_for_selector("#server[data-state=ready]")
        return self.at(self.name)

    def rows(self, *names: str) -> None:
        """Wait until the lists are these, by name."""
        self.visitor.wait(
            """([view, names]) => JSON.stringify([...document.querySelectorAll(`#${view} .row b`)]
                .map((name) => name.textContent)) === JSON.stringify(names)""",
            f"view-{self.name}",
            list(names),
        )

    def row(self, name: str) -> Locator:
        return self.part(".row").filter(has=self.visitor.page.get_by_text(name, exact=True))

    def open(self, name: str) -> None:
        self.row(name).click()
        self.opened(name)

    def opened(self, name: str) -> None:
        """Wait until the list is in the editor; "": a new one."""
        self.visitor.wait(
            """([view, name]) => { const form = document.querySelector(`#${view} .editor-form`);
                return !form.hidden && form.querySelector(".name").value === name; }""",
            f"view-{self.name}",
            name,
        )

    def new(self, name: str, text: str) -> None:
        """Fill in a new list, and do not save it."""
        self.part(".new").click()
        self.part(".name").fill(name)
        self.part(".terms").fill(text)

    def save(self) -> None:
        self.part(".save").click()
        self.says("Saved")

    def says(self, state: str) -> None:
        self.part(f".editor-state:text-is('{state}')").wait_for(timeout=PATIENCE)

    def counts(self, text: str) -> None:
        self.part(f".count:text-is('{text}')").wait_for(timeout=PATIENCE)

    @property
    def text(self) -> str:
        return self.part(".terms").input_value()

    @property
    def weighted(self) -> bool:
        return self.part(".weighted").is_checked()

    def answer(self, answer: str, question: str) -> None:
        """Answer the page's question."""
        dialog = self.visitor.page.locator("dialog[open]")
        dialog.wait_for(timeout=PATIENCE)
        assert dialog.locator("h2").inner_text() == question
        dialog.locator(f"[data-answer={answer}]").click()
        dialog.wait_for(state="hidden", timeout=PATIENCE)

    def notice(self, where: str = "editor-") -> str:
        """What is told, once it is; `where` "" is beside the lists."""
        self.visitor.page.wait_for_selector(f"#{self.name}-{where}notice:not([hidden])", timeout=PATIENCE)
        return self.visitor.page.inner_text(f"#{self.name}-{where}notice-title")

    def drop(self, **files: bytes) -> None:
        """Drop text files on the page, as a mouse would; their names without the ending."""
        sent = [[f"{name}.txt", base64.b64encode(content).decode()] for name, content in files.items()]
        self.visitor.page.evaluate(DROP, [f"#view-{self.name}", sent])

    def exported(self) -> tuple[str, str]:
        """A file's name and text."""
        with self.visitor.page.expect_download() as waiting:
            self.part(".export").click()
        return waiting.value.suggested_filename, Path(waiting.value.path()).read_text("utf-8")
