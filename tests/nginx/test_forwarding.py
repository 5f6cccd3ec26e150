"""FORWARDED_ALLOW_IPS: whose word the server takes for where its clients are."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from models.small_whisper import make_small_whisper
from pydantic import ValidationError
from real.scoring import read_wav, wav_bytes
from real.server import start_server

from app.settings import Settings

from .proxy import running

RATE = 16_000


def test_networks_addresses_and_everybody() -> None:
    def believed(said: str) -> list[str]:
        return [str(one) for one in Settings(forwarded_allow_ips=said).forwarded_allow_ips]  # type: ignore[arg-type]

    assert believed("10.0.0.0/8, 172.29.77.2") == ["10.0.0.0/8", "172.29.77.2/32"]
    assert believed("*") == ["0.0.0.0/0", "::/0"]
    assert believed("") == []
    with pytest.raises(ValidationError):
        believed("proxy")


@pytest.mark.parametrize(("proxies", "told_apart"), [("127.0.0.1", True), ("10.0.0.0/8", False)])
def test_limits_by_address_are_the_clients(
    models_dir: Path, phone_call: Path, tmp_path: Path, proxies: str, told_apart: bool
) -> None:
    small = make_small_whisper(tmp_path / "small", models_dir / "whisper-base")
    own = {"ASR_MODEL_DIR_WHISPER_BASE": str(small), "SPEAKER_DIARIZATION": "off"}
    server = start_server(models_dir, tmp_path, FORWARDED_ALLOW_IPS=proxies, KEY_REQUESTS_PER_MINUTE="1", **own)
    wav = wav_bytes(read_wav(phone_call / "sample.wav")[: 2 * RATE])
    try:
        server.wait_until_ready()
        with running(tmp_path / "nginx", [server.base.removeprefix("http://")]) as nginx:

            def ask(address: str) -> int:
                with httpx.Client(transport=httpx.HTTPTransport(local_address=address), timeout=60) as http:
                    files = {"file": ("a.wav", wav)}
                    return http.post(f"{nginx.base}/v1/audio/transcriptions", files=files).status_code

            assert [ask("127.0.0.8"), ask("127.0.0.8")] == [200, 429]
            assert ask("127.0.0.9") == (200 if told_apart else 429)
    finally:
        server.process.kill()
        server.process.wait()
