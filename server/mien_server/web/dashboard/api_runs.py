"""Runs: looked at, started, stopped, taken up again."""

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from pydantic import AwareDatetime, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from mien_common.site_name import SITE_NAME_PATTERN
from mien_server.facts import RoundFacts, RunFacts, SiteRoundFacts
from mien_server.runs.settings import RunSettings
from mien_server.web.dashboard import wishes
from mien_server.web.dashboard.desk import AtDesk
from mien_server.web.dashboard.fields import LAST_ID, RunName
from mien_server.web.dashboard.login import Does, Looks
from mien_server.web.dashboard.problems import DOING, LOOKING

router = APIRouter(tags=["runs"])


class RunWish(RunSettings):
    """A run's settings, as in `run.toml`, and when it is to start."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"examples": [{"rounds": 20, "rule": {"name": "fedadam", "tau": 0.01}}]},
    )

    quorum: int | None = Field(  # type: ignore[assignment]  # it may be left out here, and is filled in
        default=None,
        ge=1,
        le=100_000,
        description="More than half of the sites that a round asks, if left out.",
    )
    not_before: AwareDatetime | None = Field(
        default=None, description="When to start: a date and time with its zone. At once, if left out."
    )


@router.get("/runs", summary="Every run", responses=LOOKING)
def list_runs(
    desk: AtDesk,
    _: Looks,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[
        int | None, Query(ge=0, le=LAST_ID, description="Only lower numbers than this.")
    ] = None,
) -> list[RunFacts]:
    """The newest first."""
    return desk.history.runs(limit, before)


@router.get("/runs/{run}", summary="One run", responses=LOOKING)
def read_run(run: RunName, desk: AtDesk, _: Looks) -> RunFacts:
    """What was asked for, and how far it came."""
    found = desk.history.run(run)
    if found is None:
        raise no_such_run(run)
    return found


@router.get("/runs/{run}/rounds", summary="Its rounds", responses=LOOKING)
def list_rounds(
    run: RunName,
    desk: AtDesk,
    _: Looks,
    after: Annotated[int, Query(ge=0, le=LAST_ID, description="Only rounds after this one.")] = 0,
) -> list[RoundFacts]:
    """In order, at most 5,000 at a time: ask again with `after` for those that follow."""
    found = desk.history.rounds(run, after)
    if not found and desk.history.run(run) is None:
        raise no_such_run(run)
    return found


@router.get("/runs/{run}/sites", summary="The sites' parts in it", responses=LOOKING)
def list_parts(
    run: RunName,
    desk: AtDesk,
    _: Looks,
    round: Annotated[int | None, Query(ge=0, le=9_999_999)] = None,
    site: Annotated[str | None, Query(pattern=SITE_NAME_PATTERN)] = None,
) -> list[SiteRoundFacts]:
    """By round and site; of the last rounds where there are more than 5,000."""
    found = desk.history.site_rounds(run, round, site)
    if not found and desk.history.run(run) is None:
        raise no_such_run(run)
    return found


@router.post("/runs", status_code=201, summary="Start a run", responses=DOING)
async def start_run(wish: RunWish, request: Request, desk: AtDesk, _: Does) -> RunFacts:
    """Put it into the queue; it begins when its turn comes. Only `rounds` has to be given."""
    # What was sent, not what was made of it: a run's settings are strict, "3" is no number.
    values: dict[str, Any] = await request.json()
    values.pop("not_before", None)
    return await run_in_threadpool(wishes.start_run, desk, values, wish.not_before)


@router.post("/runs/{run}/stop", status_code=202, summary="Stop it", responses=DOING)
def stop_run(run: RunName, desk: AtDesk, _: Does) -> RunFacts:
    """Its ServerApp is told; one that waits is taken out of the queue. What was published stays."""
    return wishes.stop_run(desk, run)


@router.post("/runs/{run}/resume", status_code=202, summary="Go on with it", responses=DOING)
def resume_run(run: RunName, desk: AtDesk, _: Does) -> RunFacts:
    """After its last published round, to the same result. Of a run that waits or goes on nothing changes."""
    return wishes.resume_run(desk, run)


def no_such_run(run: str) -> HTTPException:
    """404."""
    return HTTPException(404, f"there is no run {run}")
