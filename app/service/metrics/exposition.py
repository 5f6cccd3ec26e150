"""Metrics as text, in the format that the one who asks understands."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.service.metrics.meter import PrometheusMeter
from app.service.metrics.states import Standing, States


class Everything(Collector):
    """What was counted, and how things stand."""

    def __init__(self, meter: PrometheusMeter, standing: Standing) -> None:
        self._meter = meter
        self._states = States(standing)

    def collect(self) -> Iterator[Metric]:
        """All of it."""
        yield from self._meter.collect()
        yield from self._states.collect()


async def exposed(meter: PrometheusMeter, standing: Standing, accept: str) -> tuple[bytes, str]:
    """The text, and its content type: OpenMetrics where the header `accept` names it, else Prometheus' own."""
    encode, content_type = choose_encoder(accept)
    # In a thread: the system is read, and live sessions do not wait for that.
    return await asyncio.to_thread(encode, Everything(meter, standing)), content_type
