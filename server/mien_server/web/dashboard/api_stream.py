"""``GET /stream``: what happens, as it happens."""

from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Query, Request, Response

from mien_server.web.dashboard.fields import LAST_ID
from mien_server.web.dashboard.login import Looks
from mien_server.web.dashboard.problems import problems
from mien_server.web.dashboard.stream import EventStream, Stream

router = APIRouter(tags=["what goes on"])


@router.get(
    "/stream",
    summary="What happens, as it happens",
    response_model=None,
    response_class=Response,  # errors are JSON
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
        **problems(503),
    },
)
async def watch(
    who: Looks,
    request: Request,
    after: Annotated[
        int | None, Query(ge=0, le=LAST_ID, description="The last line of the log that is known already.")
    ] = None,
    last_event_id: Annotated[
        str, Header(max_length=20, description="The same, as browsers send it when they come back.")
    ] = "",
) -> EventStream:
    """Server-sent events: `status` (Status) at once, whenever it changed, and every 2 s while a run goes on;
    `round` (RoundFacts); `log` (EventFacts; its id is the event's); `models` when their lists changed. It
    ends with the session."""
    found: Stream = request.app.state.stream
    if found.is_full:
        raise HTTPException(503, "too many watch already. Close some pages.", {"Retry-After": "30"})
    known = int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() else after
    return EventStream(found.listen(known, who.is_welcome), headers={"X-Accel-Buffering": "no"})
