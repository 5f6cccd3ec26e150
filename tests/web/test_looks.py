"""What the page looks like: in both languages, on phones, to people who read, scroll and listen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from .browser import DESK, PHONE, Visit, visit
from .fake_server import ENGLISH, FakeServer, Sentence

VISIBLE_TEXTS = """() => {
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const { parentElement, data } = walker.currentNode;
        if (parentElement.checkVisibility()) found.push(data);
    }
    for (const node of document.querySelectorAll("[title], [aria-label], [placeholder]"))
        for (const name of ["title", "aria-label", "placeholder"]) found.push(node.getAttribute(name) ?? "");
    return found.map((text) => text.trim()).filter(Boolean);
}"""
SAME_IN_BOTH = re.compile(
    r"中文|English|TXT|SRT|VTT|JSON|WAV|FunASR|API_KEYS|https|http|localhost|nginx|TLS|WebSocket|Upgrade|Connection|"
    r"ssh -L \d+:\S+ SERVER|adb reverse \S+ \S+|tcp:\d+|Android|openssl req [^。]*?cert\.pem|"
    r"Chrome|Edge|Firefox|Safari|first-model|second-model|recording\.wav|"
    r"Fake Default Audio Input|Fake Audio Input \d|kB|MB|\bs\b"
)


def all_texts(visitor: Visit, recording: Path) -> list[str]:
    """What the page says in turn: at rest, with a file, failing."""
    visitor.page.wait_for_selector("#server[data-state=ready]")
    visitor.page.locator("details.https").evaluate("details => { details.open = true; }")
    texts = visitor.page.evaluate(VISIBLE_TEXTS)
    visitor.page.set_input_files("#file", recording)
    texts += visitor.page.evaluate(VISIBLE_TEXTS)
    visitor.page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotFoundError')); }"
    )
    visitor.page.click("#record")
    visitor.page.wait_for_selector("#notice:not([hidden])")
    visitor.page.locator("#save").evaluate("details => { details.removeAttribute('data-empty'); details.open = true; }")
    return texts + visitor.page.evaluate(VISIBLE_TEXTS)


@pytest.mark.parametrize(("locale", "foreign"), [("zh-CN", r"[A-Za-z]"), ("de-DE", r"[\u4e00-\u9fff]")])
def test_everything_is_in_the_visitors_language(
    chrome: Browser, server: FakeServer, recording: Path, locale: str, foreign: str
) -> None:
    with visit(chrome, server.base, locale=locale) as visitor:
        texts = all_texts(visitor, recording)
        assert len(texts) > 100
        left = [text for text in texts if re.search(foreign, SAME_IN_BOTH.sub("", text))]
        assert left == []


def test_the_language_can_be_changed_at_any_time_and_is_remembered(visitor: Visit) -> None:
    visitor.page.wait_for_selector("#server[data-state=ready]")
    visitor.page.click("#record")
    visitor.state("listening")
    visitor.page.click("[data-language=zh]")
    assert visitor.page.inner_text("#state") == "聆听中"
    assert visitor.page.get_attribute("#record", "aria-label") == "停止（空格键）"
    assert visitor.page.get_attribute("html", "lang") == "zh-CN"
    assert "中文" in visitor.page.locator("#language option").all_inner_texts()
    visitor.heard("Good morning, everybody.")
    visitor.page.click("#record")
    visitor.state("idle")
    visitor.page.reload()
    assert visitor.page.inner_text("#stage-title") == "转写"
    visitor.page.click("[data-language=en]")
    assert visitor.page.inner_text("#stage-title") == "Transcript"
    assert visitor.page.title() == "Speech server – live"


@pytest.mark.parametrize(("width", "locale"), [(320, "en-GB"), (390, "en-GB"), (768, "en-GB"), (320, "zh-CN")])
def test_nothing_is_wider_than_a_phone(
    chrome: Browser, server: FakeServer, recording: Path, width: int, locale: str
) -> None:
    server.script = [Sentence("W" * 200 + " " + "好" * 80, 0.2, 0.8, "Speaker" * 9), *ENGLISH]
    with visit(chrome, server.base, locale=locale, viewport=PHONE | {"width": width}) as visitor:
        assert visitor.fits(), "at rest"
        visitor.page.click("#open-settings")
        assert visitor.page.is_visible("#hotwords")
        visitor.page.locator("details.https summary").click()
        assert visitor.fits(), "settings"
        visitor.page.click("#close-settings")
        assert visitor.page.is_hidden("#hotwords")
        visitor.record(3)
        assert visitor.fits(), "a transcript"
        visitor.page.set_input_files("#file", recording)
        assert visitor.fits(), "a file"
        visitor.page.click("#save > summary")
        box = visitor.page.locator("#save ul").bounding_box()
        assert box is not None
        assert 0 <= box["x"] <= box["x"] + box["width"] <= width, "the menu"


def test_a_reader_who_scrolls_up_is_left_alone(chrome: Browser, server: FakeServer) -> None:
    server.script = [
        Sentence(f"Sentence number {number}.", number * 0.1, number * 0.1 + 0.1) for number in range(1, 60)
    ]
    with visit(chrome, server.base, viewport={"width": 1000, "height": 500}) as visitor:
        place = "(box => box.scrollHeight - box.scrollTop - box.clientHeight)(document.getElementById('scroller'))"
        visitor.page.click("#record")
        visitor.heard("Sentence number 20.")
        assert visitor.page.evaluate(place) < 64, "it follows"
        visitor.page.locator("#scroller").evaluate("box => { box.scrollTop = 0; }")
        visitor.page.wait_for_selector("#latest:not([hidden])")
        visitor.heard("Sentence number 35.")
        assert visitor.page.locator("#scroller").evaluate("box => box.scrollTop") == 0
        visitor.page.click("#latest")
        visitor.wait(f"() => {place} < 64")
        visitor.heard("Sentence number 45.")
        assert visitor.page.evaluate(place) < 64
        assert visitor.page.is_hidden("#latest")


CONTRASTS = """() => {
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    const light = ([red, green, blue]) =>
        0.2126 * linear(red / 255) + 0.7152 * linear(green / 255) + 0.0722 * linear(blue / 255);
    const behind = (node) => {
        for (; node; node = node.parentElement) {
            const colour = numbers(getComputedStyle(node).backgroundColor);
            if (colour.length < 4 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    // What cannot be used is faint on purpose; what stands on a translucent ground cannot be measured so.
    const left = ":disabled *, :disabled, :has(> :disabled) *, option, .menu[data-empty] *, [aria-pressed]";
    return [...document.querySelectorAll("body *")]
        .filter((node) => [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim()))
        .filter((node) => node.checkVisibility() && !node.matches(left))
        .map((node) => {
            const [a, b] = [light(numbers(getComputedStyle(node).color)), light(behind(node))];
            return [node.textContent.trim().slice(0, 30), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
        });
}"""
NAMELESS = """() => [...document.querySelectorAll("button, input, select, textarea, a, summary, [role=meter]")]
    .filter((node) => ![node.getAttribute("aria-label"), node.textContent, node.labels?.[0]?.textContent]
        .some((name) => name?.trim()))
    .map((node) => node.id || node.outerHTML)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(chrome: Browser, server: FakeServer, scheme: str) -> None:
    """WCAG 2.2, AA: 4.5 to 1."""
    with visit(chrome, server.base, color_scheme=scheme) as visitor:
        visitor.page.click("#record")
        visitor.heard("Good morning, everybody.")
        visitor.wait("() => document.querySelector('.pending .said')?.textContent.trim()")
        ratios: list[Any] = visitor.page.evaluate(CONTRASTS)
    assert len(ratios) > 25
    assert [pair for pair in ratios if pair[1] < 4.5] == []


def test_every_control_has_a_name(visitor: Visit) -> None:
    assert visitor.page.evaluate(NAMELESS) == []


def test_what_is_said_is_read_out_once_it_is_final(visitor: Visit) -> None:
    assert visitor.page.get_attribute("#announcer", "aria-live") == "polite"
    visitor.page.click("#record")
    visitor.page.locator("#announcer", has_text="Good morning, everybody.").wait_for(state="attached")


def test_the_page_is_as_wide_as_a_desk_allows(visitor: Visit) -> None:
    assert visitor.page.viewport_size == DESK
    assert visitor.page.is_visible("#hotwords"), "settings stand beside the transcript"
    assert visitor.page.is_hidden("#open-settings")
