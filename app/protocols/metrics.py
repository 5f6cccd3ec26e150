"""What Prometheus scrapes."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.protocols.callers import Key
from app.protocols.openai.wire import ErrorBody
from app.service.auth import METRICS_PATH
from app.service.lifecycle import Lifecycle
from app.service.metrics.cards import Cards
from app.service.metrics.exposition import exposed
from app.service.metrics.jobs import jobs_standing
from app.service.metrics.meter import PrometheusMeter
from app.service.metrics.states import standing
from app.service.service import SpeechService

router = APIRouter(tags=["Health"])


@router.get(
    METRICS_PATH,
    summary="What Prometheus scrapes",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "All metrics."},
        401: {"model": ErrorBody, "description": "No API key, or a wrong one."},
    },
)
async def metrics(request: Request, _key: Key) -> Response:
    """All metrics as text: Prometheus' format, or OpenMetrics where `Accept` names it. Where API keys are set, one
    is needed, or an admin key, unless METRICS_OPEN is set."""
    service: SpeechService = request.app.state.service
    meter: PrometheusMeter = request.app.state.metrics
    lifecycle: Lifecycle = request.app.state.lifecycle
    cards: Cards = request.app.state.cards
    now = standing(service, cards, await jobs_standing(service), draining=lifecycle.draining)
    content, media_type = await exposed(meter, now, request.headers.get("accept", ""))
    return Response(content, headers={"content-type": media_type})
