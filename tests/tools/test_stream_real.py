"""The tool against the real server and a real model, in every protocol of its main port."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from real.scoring import word_error_rate
from real.server import ROOT, RealServer

JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"


@pytest.mark.parametrize("protocol", ["aliyun", "funasr", "qwen", "openai", "vllm"])
def test_real_speech_is_heard(real_server: RealServer, shared_audio: Path, protocol: str) -> None:
    command = [sys.executable, ROOT / "tools" / "stream.py", shared_audio / "en_jfk.flac", "--json", "--pace", "0"]
    command += ["--url", real_server.base, "--protocol", protocol, "--language", "en"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    finals = [one for one in said if one["event"] == "final"]
    finished = said[-2]
    assert finished["event"] == "finished"
    assert finished["text"] == " ".join(one["text"].strip() for one in finals)
    assert word_error_rate(JFK, finished["text"]) <= 0.15
    assert [one["at"] for one in finals] == sorted(one["at"] for one in finals)
