"""Metrics for Prometheus, beside the API and behind the same tokens."""

from typing import Annotated

from fastapi import APIRouter, Header, Response

from mien_server.metrics import read_metrics
from mien_server.web.dashboard.desk import AtDesk
from mien_server.web.dashboard.login import Looks
from mien_server.web.dashboard.problems import LOOKING

router = APIRouter(tags=["what goes on"], responses=LOOKING)


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={
        200: {
            "description": "The text format, or OpenMetrics where `Accept` prefers it.",
            "content": {
                "text/plain": {"schema": {"type": "string"}},
                "application/openmetrics-text": {"schema": {"type": "string"}},
            },
        }
    },
)
def metrics(desk: AtDesk, _: Looks, accept: Annotated[str, Header(include_in_schema=False)] = "") -> Response:
    """Numbers of this moment, of the last round, and totals over all runs; a viewer's token suffices."""
    text, content_type = read_metrics(desk.folder, desk.history, desk.clock(), accept)
    return Response(text, headers={"Content-Type": content_type})
