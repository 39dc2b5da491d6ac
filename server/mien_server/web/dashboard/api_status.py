"""What goes on: the status of this moment, sites, and the log of what happened."""

from typing import Annotated

from fastapi import APIRouter, Query

from mien_common.site_name import SITE_NAME_PATTERN
from mien_server.facts import EventFacts, SiteFacts, Status
from mien_server.history.kinds import KINDS
from mien_server.runs.settings import RUN_NAME
from mien_server.web.dashboard.desk import AtDesk
from mien_server.web.dashboard.fields import LAST_ID
from mien_server.web.dashboard.login import Looks
from mien_server.web.dashboard.problems import LOOKING

router = APIRouter(tags=["what goes on"], responses=LOOKING)

Id = Annotated[int | None, Query(ge=0, le=LAST_ID)]
Kind = Annotated[str, Query(pattern=f"^({'|'.join(KINDS)})$")]


@router.get("/status", summary="Everything of this moment")
def read_status(desk: AtDesk, _: Looks) -> Status:
    """The run that goes on and its round, the queue, every site, the latest release. While the history is
    away, what the server's files say: `server.behind_s` is null then, and no event is known."""
    return desk.moment.status(desk.clock())


@router.get("/sites", summary="Every site")
def list_sites(desk: AtDesk, _: Looks) -> list[SiteFacts]:
    """Its presence now, and its numbers of the last round that it took part in."""
    return desk.history.sites()


@router.get("/events", summary="The log of what happened")
def list_events(
    desk: AtDesk,
    _: Looks,
    after: Id = None,
    before: Id = None,
    kind: Annotated[list[Kind], Query(max_length=len(KINDS), description="One or more of them.")] = [],  # noqa: B006
    run: Annotated[str | None, Query(pattern=f"^{RUN_NAME}$")] = None,
    site: Annotated[str | None, Query(pattern=SITE_NAME_PATTERN)] = None,
    text: Annotated[
        str | None,
        Query(
            max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", description="Something that its text contains."
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> list[EventFacts]:
    """The newest first; with `after`, what came after the event of this id, in order."""
    return desk.history.events(
        after=after, before=before, kinds=kind, run=run, site=site, text=text, limit=limit
    )
