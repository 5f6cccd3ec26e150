"""Traces: when there are any, and what is wrong where there cannot be."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from house import House

from app.domain.errors import ConfigUnusable
from app.main import create_app
from app.service.tracing import tracing_of

if TYPE_CHECKING:
    from app.service.spans import Tracing


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, tmp_path / "sound.wav")


def test_without_an_address_there_are_none(house: House) -> None:
    assert create_app(house.settings()).state.tracing is None


@pytest.mark.parametrize("said", ["collector:4318", "ftp://collector", "http://", "http://[::1", "http://a:0"])
def test_what_is_no_address_is_told(house: House, said: str) -> None:
    with pytest.raises(ConfigUnusable, match="OTEL_EXPORTER_OTLP_ENDPOINT is no address"):
        tracing_of(house.settings(otel_exporter_otlp_endpoint=said))


def test_without_the_packages_the_command_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "app.service.spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigUnusable, match=r"pip install -r requirements-otel\.txt"):
        create_app(house.settings(otel_exporter_otlp_endpoint="http://127.0.0.1:4318"))


def traced(house: House, address: str = "http://127.0.0.1:9") -> Tracing:
    pytest.importorskip("opentelemetry.sdk")
    tracing = tracing_of(house.settings(otel_exporter_otlp_endpoint=address))
    assert tracing is not None
    return tracing


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "speech-server"),
        ({"OTEL_SERVICE_NAME": "mine"}, "mine"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=theirs,a=b"}, "theirs"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=theirs", "OTEL_SERVICE_NAME": "mine"}, "mine"),
    ],
)
def test_the_service_s_name_is_what_variables_say(
    house: House, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], name: str
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    tracing = traced(house)
    assert tracing.resource["service.name"] == name
    assert tracing.resource["service.version"]
    tracing.close()


def test_a_variable_that_makes_no_sense_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "99999")  # more than are kept
    with pytest.raises(ConfigUnusable, match="OTEL_BSP_MAX_EXPORT_BATCH_SIZE"):
        traced(house)


def test_a_collector_that_does_not_answer_holds_up_the_end_for_some_seconds_only(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracing = traced(house)
    released, sent = threading.Event(), threading.Event()

    def send() -> None:
        released.wait(60)
        sent.set()

    monkeypatch.setattr(tracing._provider, "shutdown", send)
    monkeypatch.setattr("app.service.spans._SEND_SECONDS", 0.2)
    tracing.close()
    assert not sent.is_set()
    assert tracing._exporter._shutdown  # so that nothing is tried again
    released.set()
    assert sent.wait(60)
