"""What is hostile, what goes wrong, and keys."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright

from .browser import Visit, browser, tone, visit, write_wav
from .fake_server import ENGLISH, FakeServer, Sentence, fake_server

MARKUP = "<img src=/nothing onerror=\"document.title='taken'\"> & <b>bold</b>"


@pytest.mark.parametrize("protocol", ["aliyun", "funasr", "qwen"])
def test_markup_is_text(chrome: Browser, protocol: str, tmp_path: Path) -> None:
    script = [Sentence(MARKUP, 0.3, 1.0, MARKUP), Sentence(MARKUP, 1.2, 3.0)]
    with fake_server(script=script, models=[MARKUP]) as server, visit(chrome, server.base) as visitor:
        visitor.page.wait_for_selector("#server[data-state=ready]")
        visitor.set(protocol=protocol)
        visitor.page.click("#record")
        visitor.heard("onerror")
        visitor.wait("() => document.querySelector('.pending .said')?.textContent.includes('onerror')")
        assert visitor.sentences == [MARKUP]
        visitor.page.click("#record")
        visitor.state("idle")
        visitor.drop(write_wav(tmp_path / "<img src=x onerror=alert(1)>.wav", tone(440, 1, 8_000), 8_000))
        assert visitor.page.inner_text("#file-name") == "<img src=x onerror=alert(1)>.wav"
        assert visitor.page.locator("main img, main b:not(button b)").count() == 0
        assert visitor.page.title() == "Speech server – live"
        assert b"&lt;img src" in visitor.save("vtt")


def test_what_the_server_says_of_a_failure_is_text(chrome: Browser, server: FakeServer) -> None:
    server.refusal = MARKUP
    with visit(chrome, server.base) as visitor:
        visitor.page.click("#record")
        visitor.page.wait_for_selector("#notice:not([hidden])")
        assert visitor.page.inner_text("#notice-detail") == MARKUP
        assert visitor.page.locator("#notice img").count() == 0


def test_a_connection_that_ends_is_told_and_not_made_again(visitor: Visit, server: FakeServer) -> None:
    server.hang_up_after = 1.4
    visitor.page.click("#record")
    visitor.page.wait_for_selector("#notice:not([hidden])")
    visitor.state("idle")
    assert visitor.page.inner_text("#notice-title") == "The connection has ended"
    assert visitor.page.inner_text("#notice-detail") == "1011 gone"
    assert visitor.sentences == ["Good morning, everybody."], "what was said stays"
    visitor.page.wait_for_timeout(500)
    assert len(server.starts) == 1
    server.hang_up_after = None
    visitor.page.click("#notice-again")
    visitor.state("listening")
    assert visitor.page.is_hidden("#notice")
    assert len(server.starts) == 2


def test_a_server_that_has_gone_is_told(chrome: Browser) -> None:
    with ExitStack() as running:
        server = running.enter_context(fake_server())
        with visit(chrome, server.base) as visitor:
            visitor.page.wait_for_selector("#server[data-state=ready]")
            running.close()
            visitor.page.click("#record")
            visitor.page.wait_for_selector("#notice:not([hidden])")
            assert visitor.page.inner_text("#notice-title") == "No connection to the server"
            visitor.complaints.clear()  # the browser says so, too


def test_a_server_that_is_not_ready_yet_is_waited_for(chrome: Browser) -> None:
    with fake_server(ready=False) as server, visit(chrome, server.base) as visitor:
        visitor.page.locator("#server-state", has_text="The model is loading").wait_for()
        server.ready = True
        visitor.page.locator("#server-state", has_text="Ready").wait_for()
        assert visitor.page.locator("#model option").all_inner_texts() == ["first-model", "second-model"]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("NotAllowedError", "The browser may not use the microphone"),
        ("NotFoundError", "There is no microphone"),
        ("NotReadableError", "The microphone cannot be opened"),
    ],
)
def test_a_microphone_that_cannot_be_had_is_told_with_what_to_do(visitor: Visit, name: str, title: str) -> None:
    visitor.page.evaluate(
        "([name]) => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', name)); }",
        [name],
    )
    visitor.page.click("#record")
    visitor.page.wait_for_selector("#notice:not([hidden])")
    assert visitor.page.inner_text("#notice-title") == title
    assert len(visitor.page.inner_text("#notice-steps")) > 20
    visitor.state("idle")
    visitor.page.click("#notice-close")
    assert visitor.page.is_hidden("#notice")


def test_an_address_without_https_says_how_to_get_a_microphone(
    playwright: Playwright, sound: Path, recording: Path
) -> None:
    with (
        fake_server(script=ENGLISH) as server,
        browser(playwright, sound, "--host-resolver-rules=MAP speech.test 127.0.0.1") as started,
        visit(started, f"http://speech.test:{server.port}") as visitor,
    ):
        assert visitor.page.is_visible("#insecure")
        visitor.page.click("#record")
        visitor.page.wait_for_selector("#notice:not([hidden])")
        steps = visitor.page.inner_text("#notice-steps")
        assert f"http://localhost:{server.port}" in steps
        assert f"ssh -L {server.port}:localhost:{server.port}" in steps
        assert "nginx" in steps
        assert "self-signed" in steps
        visitor.page.click("#notice-close")
        # Files work all the same.
        visitor.drop(recording)
        visitor.set(speed="4")
        visitor.page.click("#file-live")
        visitor.heard("Shall we begin?")
        visitor.state("idle")
        visitor.page.click("#copy")
        visitor.page.locator("#copy-label", has_text="Copied").wait_for()


def test_a_server_with_keys_asks_for_one_and_takes_it(chrome: Browser, recording: Path) -> None:
    with (
        fake_server(key="secret key+1") as server,
        visit(chrome, server.base) as visitor,
    ):
        visitor.page.locator("#server-state", has_text="Needs a token").wait_for()
        visitor.page.click("#record")
        visitor.page.wait_for_selector("#notice:not([hidden])")
        assert visitor.page.inner_text("#notice-title") == "The server does not know this token"
        visitor.state("idle")
        visitor.page.set_input_files("#file", recording)
        visitor.page.click("#file-upload")
        visitor.page.locator("#notice-detail", has_text="A valid API key is needed.").wait_for()
        visitor.state("idle")
        visitor.page.click("#file-close")
        visitor.set(token="secret key+1")
        visitor.page.locator("#server-state", has_text="Ready").wait_for()
        visitor.record(3)
        assert server.queries[-1]["token"] == "secret key+1"
        assert visitor.sentences == ["Good morning, everybody.", "Shall we begin?"]


def test_a_token_is_kept_only_if_that_is_wanted_and_only_until_the_tab_closes(
    chrome: Browser, server: FakeServer
) -> None:
    kept = "JSON.stringify([{...sessionStorage}, {...localStorage}])"
    with visit(chrome, server.base) as visitor:
        visitor.set(token="secret")
        assert "secret" not in visitor.page.evaluate(kept)
        visitor.set(keep_token=True)
        in_session, lasting = json.loads(visitor.page.evaluate(kept))
        assert "secret" in json.dumps(in_session)
        assert "secret" not in json.dumps(lasting)
        visitor.page.reload()
        assert visitor.page.input_value("#token") == "secret"
        assert "secret" not in visitor.page.url
        visitor.set(keep_token=False)
        assert "secret" not in visitor.page.evaluate(kept)
        assert visitor.page.get_attribute("#token", "type") == "password"


def test_settings_are_remembered(chrome: Browser, server: FakeServer) -> None:
    with visit(chrome, server.base) as visitor:
        visitor.set(silence="500", protocol="funasr", language="ja", hotwords="one\ntwo", itn=False)
        visitor.page.reload()
        visitor.page.wait_for_selector("body[data-ready]")
        assert visitor.page.input_value("#protocol") == "funasr"
        assert visitor.page.input_value("#language") == "ja"
        assert visitor.page.input_value("#hotwords") == "one\ntwo"
        assert visitor.page.is_checked("#itn") is False
        assert visitor.page.inner_text("#silence-value") == "0.5 s"
