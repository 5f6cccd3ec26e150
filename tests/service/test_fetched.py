"""Recordings at addresses, as protocols have them fetched: while they are needed, and within the request's time."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from pathlib import Path

import pytest
from audio.fetching import SOUND, Listener, Names, Play, answering, dripping, fetcher, silent
from house import ENGLISH, House, furnished
from real.scoring import word_error_rate

from app.domain.errors import (
    AddressNotFetched,
    DeadlineExceeded,
    EmptyAudio,
    InvalidParameter,
    SpeechError,
    UndecodableAudio,
    UploadTooLarge,
)
from app.domain.options import RecognitionOptions
from app.service import logs
from app.service.admission import Caller
from app.service.service import SpeechService
from app.settings import Settings

HERE = "127.0.0.1/32"
SECRET = "signature-7f3a"


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return furnished(tmp_path, monkeypatch)


def left(house: House) -> list[str]:
    return os.listdir(house.temp)  # noqa: PTH208 - scenarios may not use a path's own


def test_a_fetched_recording_is_recognised_and_gone_afterwards(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        async with Listener(answering(house.sound.read_bytes())).at() as server:
            with service.admit(Caller()) as ticket:
                async with service.fetched(f"http://127.0.0.1:{server.port}/a.wav", ticket) as path:
                    assert path.parent == house.temp
                    assert path.name.startswith("upload-")
                    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600  # noqa: PTH116
                    fetched = await service.transcribe(path, "whisper-base", ENGLISH, ticket)
                assert left(house) == []
        with service.admit(Caller()) as ticket:
            uploaded = await service.transcribe(house.sound, "whisper-base", ENGLISH, ticket)
        assert fetched.text == uploaded.text != ""

    house.run(scenario, audio_address_networks=HERE)


def test_real_speech_at_an_address(models_dir: Path, shared_audio: Path, tmp_path: Path) -> None:
    said = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
    settings = Settings(
        _env_file=None,
        asr_model="whisper-base",
        models_dir=models_dir,
        modelscope_path=tmp_path,
        hf_home=tmp_path,
        temp_dir=tmp_path / "temp",
        data_dir=tmp_path / "data",
        speaker_diarization="off",
        audio_address_networks=HERE,
    )
    flac = (shared_audio / "en_jfk.flac").read_bytes()

    async def main() -> None:
        service = SpeechService(settings)
        try:
            await service.start()
            async with Listener(answering(flac)).at() as server:
                url = f"http://127.0.0.1:{server.port}/speech?{SECRET}"
                with service.admit(Caller()) as ticket:
                    async with service.fetched(url, ticket) as path:
                        heard = await service.transcribe(path, "whisper-base", RecognitionOptions(), ticket)
            assert word_error_rate(said, heard.text) < 0.1
        finally:
            await service.close()

    asyncio.run(main())
    assert list((tmp_path / "temp").iterdir()) == []


@pytest.mark.parametrize(
    ("play", "error"),
    [
        (answering(status="404 Not Found"), AddressNotFetched),
        (answering(b""), EmptyAudio),
        (answering(length=len(SOUND) + 1), AddressNotFetched),
        (silent(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n"), UploadTooLarge),
        (dripping(b"HTTP/1.1 200 OK\r\n\r\n", bytes(65_536)), UploadTooLarge),
        (silent(b"HTTP/1.1 200 OK\r\n\r\n"), AddressNotFetched),
    ],
    ids=["404", "empty", "broken off", "announced too large", "too large", "silent"],
)
def test_what_goes_wrong_names_the_field_and_leaves_nothing(house: House, play: Play, error: type[SpeechError]) -> None:
    async def scenario(service: SpeechService) -> None:
        async with Listener(play).at() as server:
            with service.admit(Caller()) as ticket, pytest.raises(error) as caught:
                async with service.fetched(f"http://127.0.0.1:{server.port}/", ticket, param="file_url"):
                    pytest.fail("there is no recording")
            assert getattr(caught.value, "param", None) == "file_url"
            assert left(house) == []

    house.run(scenario, audio_address_networks=HERE, max_audio_size="1MB", upload_idle_seconds=0.3)


def test_names_are_looked_up_for_whoever_asks(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        names = Names()
        service._fetcher = fetcher(resolver=names)
        for key in ("one", "other"):
            with service.admit(Caller(key)) as ticket, pytest.raises(AddressNotFetched):
                async with service.fetched("http://recordings.example/", ticket):
                    pytest.fail("nobody knows it")
        assert names.keys == ["one", "other"]

    house.run(scenario)


def test_this_machine_is_forbidden_unless_the_operator_says_otherwise(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        async with Listener().at() as server:
            for url, error in (
                (f"http://127.0.0.1:{server.port}/", AddressNotFetched),
                (f"http://localhost:{server.port}/", AddressNotFetched),
                ("file:///etc/passwd", InvalidParameter),
            ):
                with service.admit(Caller()) as ticket, pytest.raises(error):
                    async with service.fetched(url, ticket):
                        pytest.fail("it was reached")
            assert server.connections == 0

    house.run(scenario)


def test_fetching_has_its_own_time(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        play = dripping(b"HTTP/1.1 200 OK\r\n\r\n", bytes(5000), 0.05)
        async with Listener(play).at() as server:
            with service.admit(Caller()) as ticket, pytest.raises(AddressNotFetched, match="AUDIO_ADDRESS_SECONDS"):
                async with service.fetched(f"http://127.0.0.1:{server.port}/", ticket):
                    pytest.fail("it never ends")

    house.run(scenario, audio_address_networks=HERE, audio_address_seconds=0.4)


def test_a_request_s_time_counts_while_its_recording_is_fetched(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        async with Listener(silent()).at() as server:
            with service.admit(Caller()) as ticket, pytest.raises(DeadlineExceeded):
                ticket.begin()
                async with service.fetched(f"http://127.0.0.1:{server.port}/", ticket):
                    pytest.fail("it never comes")
            assert left(house) == []
            async with asyncio.timeout(5):
                await server.gone.wait()

    house.run(scenario, audio_address_networks=HERE, request_timeout_seconds=0.4)


@pytest.mark.parametrize("when", ["while it is fetched", "while it is used"])
def test_a_client_that_leaves_takes_its_recording_with_it(house: House, when: str) -> None:
    async def scenario(service: SpeechService) -> None:
        used = asyncio.Event()

        async def ask(url: str) -> None:
            with service.admit(Caller()) as ticket:
                async with service.fetched(url, ticket):
                    used.set()
                    await asyncio.Event().wait()

        play = answering() if when == "while it is used" else silent(b"HTTP/1.1 200 OK\r\n\r\nRIFF")
        async with Listener(play).at() as server:
            asked = asyncio.create_task(ask(f"http://127.0.0.1:{server.port}/"))
            async with asyncio.timeout(10):
                await (used if when == "while it is used" else server.asked).wait()
                assert len(left(house)) == 1
                asked.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asked
                assert left(house) == []
                await server.gone.wait()

    house.run(scenario, audio_address_networks=HERE)


def test_what_cannot_be_decoded_is_told_as_of_an_upload(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        async with Listener(answering(b"<html>Sign in</html>" * 100)).at() as server:
            with service.admit(Caller()) as ticket:
                async with service.fetched(f"http://127.0.0.1:{server.port}/", ticket) as path:
                    with pytest.raises(UndecodableAudio):
                        await service.transcribe(path, "whisper-base", ENGLISH, ticket)
        assert left(house) == []

    house.run(scenario, audio_address_networks=HERE)


def test_not_even_debugging_logs_what_an_address_has_besides_its_host(
    house: House, tmp_path: Path, root: logging.Logger
) -> None:
    file = tmp_path / "server.log"
    logs.configure(house.settings(log_file=file, debug=True))

    async def scenario(service: SpeechService) -> None:
        async with Listener().at() as new:
            there = f"http://127.0.0.1:{new.port}/{SECRET}"
            async with Listener(answering(b"", "302 Found", f"Location: {there}")).at() as old:
                with service.admit(Caller()) as ticket:
                    async with service.fetched(f"http://127.0.0.1:{old.port}/?{SECRET}", ticket):
                        pass
            assert new.connections == 1

    house.run(scenario, audio_address_networks=HERE)
    written = file.read_text()
    assert f"fetched {len(SOUND)} bytes from 127.0.0.1" in written
    assert SECRET not in written
