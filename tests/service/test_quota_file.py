"""KEY_LIMITS_FILE: what it says, and everything that can be wrong with it."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
from pathlib import Path

import pytest
from real.server import ROOT

from app.domain.errors import ConfigUnusable, QuotaExceeded
from app.main import create_app
from app.service.admission import Admission, Caller
from app.service.auth import KeyRing
from app.service.quota_file import read_key_limits
from app.service.quotas import Amounts, Quotas, Usage
from app.settings import Settings

KEY, OTHER = "the call centre's key", "schlüssel"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


def entry(name: str = "call centre", digest: str = DIGEST, **limits: object) -> str:
    lines = [f'name = "{name}"', f'sha256 = "{digest}"', *(f"{field} = {value}" for field, value in limits.items())]
    return "\n".join(["[[keys]]", *lines, ""])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "limits.toml"


def settings(file: Path, **changes: object) -> Settings:
    return Settings(_env_file=None, api_keys=[KEY, OTHER], key_limits_file=file, **changes)


def caller(key: str) -> Caller:
    return Caller(KeyRing([key]).owner([(b"authorization", b"Bearer " + key.encode())]))


def ask(quotas: Quotas, key: str) -> None:
    quotas.request(caller(key), Admission(max_requests=1, max_wait=1.0, timeout=1.0).enter).leave()


def test_a_key_has_what_the_file_says_and_the_settings_where_it_says_nothing(file: Path) -> None:
    file.write_text(entry(digest=DIGEST.upper(), requests_per_minute=2, audio_seconds_per_hour=0))
    quotas = Quotas.of(settings(file, key_requests_per_minute=1, key_streams=4, key_audio_seconds_per_hour=9))

    for _ in range(2):
        ask(quotas, KEY)
    with pytest.raises(QuotaExceeded):
        ask(quotas, KEY)
    ask(quotas, OTHER)
    with pytest.raises(QuotaExceeded):
        ask(quotas, OTHER)
    assert quotas.usage() == [
        Usage("call centre", Amounts(2, 0, 0), Amounts(2, 4, 0)),
        Usage(hashlib.sha256(OTHER.encode()).hexdigest()[:8], Amounts(1, 0, 0), Amounts(1, 4, 9)),
    ]


def test_the_digest_is_that_of_the_documented_command(file: Path) -> None:
    told = next(line for line in (ROOT / "docs/limits.md").read_text().splitlines() if "sha256sum" in line)
    said = subprocess.run(["sh", "-c", told], env={**os.environ, "KEY": OTHER}, capture_output=True, check=True)
    file.write_text(entry(digest=said.stdout.decode().split()[0], streams=1))
    assert Quotas.of(settings(file)).usage()[1].limits == Amounts(0, 1, 0)


def test_the_documented_file_can_be_used(file: Path) -> None:
    text = (ROOT / "docs/limits.md").read_text()
    file.write_text(text.split("```toml\n")[1].split("```")[0])
    assert [one.name for one in read_key_limits(file)] == ["call centre", "night batch"]


def test_a_digest_of_no_key_is_a_warning(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.write_text(entry() + entry("other", "0" * 64, streams=1))
    with caplog.at_level(logging.WARNING):
        quotas = Quotas.of(settings(file))
    assert [record.getMessage() for record in caplog.records] == [
        "KEY_LIMITS_FILE: keys[2] has no effect: its sha256 is of none of API_KEYS"
    ]
    assert "other" not in [one.name for one in quotas.usage()]


def test_an_empty_file_says_nothing(file: Path) -> None:
    file.write_text("")
    assert read_key_limits(file) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("keys = [", r"is no TOML: .*at end of document"),
        ('[[keys]]\nname = "a"\nsha256 = abc\n', r"is no TOML: .*line 3"),
        ("keys = 3", "keys: input should be a valid list"),
        ("keyz = 3", "keyz: there is no such field"),
        (entry(digest="abc"), r"keys\[1\]\.sha256: 64 hexadecimal digits are expected"),
        (entry(digest=KEY), r"keys\[1\]\.sha256: 64 hexadecimal digits are expected: the SHA-256 of the key"),
        ('[[keys]]\nname = "a"', r"keys\[1\]\.sha256: is missing"),
        (entry(name=" "), r"keys\[1\]\.name: "),
        (entry(requests=3), r"keys\[1\]\.requests: there is no such field.*requests_per_minute"),
        (entry(streams=-1), r"keys\[1\]\.streams: input should be greater than or equal to 0"),
        (entry(streams=1.5), r"keys\[1\]\.streams: input should be a valid integer"),
        (entry(streams="true"), r"keys\[1\]\.streams: input should be a valid integer"),
        (entry() + entry("b"), r"keys\[2\]\.sha256: an entry before it has the same"),
        (entry() + entry(digest="0" * 64), r"keys\[2\]\.name: an entry before it has the same"),
        (entry(streams=-1) + entry("b", "x", why=1), r"keys\[1\].*; keys\[2\]\.sha256.*; keys\[2\]\.why"),
        ("[" * 20_000, "is no TOML|nested too deep"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(file: Path, text: str, told: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigUnusable, match=told) as failure:
        create_app(settings(file))
    assert str(file) in failure.value.message
    assert KEY not in failure.value.message


def test_bytes_that_are_no_text(file: Path) -> None:
    file.write_bytes(b"# \xff")
    with pytest.raises(ConfigUnusable, match="byte 2 is not UTF-8"):
        read_key_limits(file)


def test_there_is_no_application_with_a_file_that_is_not_there(file: Path) -> None:
    with pytest.raises(ConfigUnusable, match=f"KEY_LIMITS_FILE={file} cannot be read: No such file or directory"):
        create_app(settings(file))
