"""Models of rounds: listed, read, fetched, compared."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from mien_common.card import WEIGHTS_FILE, ModelCard
from mien_common.release_version import LONGEST
from mien_server.facts import ModelFacts
from mien_server.publishing.model_choice import any_model, published_model
from mien_server.runs.settings import RUN_NAME
from mien_server.web.dashboard.desk import AtDesk
from mien_server.web.dashboard.downloads import DOWNLOAD, download
from mien_server.web.dashboard.fields import RoundNumber, RunName
from mien_server.web.dashboard.login import Looks
from mien_server.web.dashboard.problems import problems

router = APIRouter(tags=["models"], responses=problems(404, 409, 503))

Choice = Annotated[
    str,
    Query(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$",
        max_length=LONGEST + 72,
        description="`RUN/ROUND`, a release's version, or `latest`.",
        examples=["2026-11-23-001/3", "1.0.0"],
    ),
]
FileName = Annotated[
    Literal["model.safetensors", "card.json"], Path(description="What of the model to fetch.")
]


class ComparedBy(BaseModel):
    """One thing that two models are compared by; null where it is not known."""

    what: str
    first: str | float | None
    second: str | float | None
    change: float | None
    """Second minus first, of numbers."""


class Comparison(BaseModel):
    """Two models side by side."""

    first: str
    second: str
    rows: list[ComparedBy]


@router.get("/models", summary="Every round's model")
def list_models(
    desk: AtDesk,
    _: Looks,
    run: Annotated[str | None, Query(pattern=f"^{RUN_NAME}$")] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> list[ModelFacts]:
    """The newest first."""
    return desk.catalogue.models(run)[:limit]


@router.get("/models/{run}/{round}", summary="One model's card")
def read_model(run: RunName, round: RoundNumber, desk: AtDesk, _: Looks) -> ModelCard:
    """As in its `card.json`."""
    return desk.catalogue.card(published_model(desk.folder, f"{run}/{round}"))


@router.get("/models/{run}/{round}/files/{name}", summary="Fetch a model", **DOWNLOAD)
def fetch_model(
    run: RunName, round: RoundNumber, name: FileName, request: Request, desk: AtDesk, _: Looks
) -> Response:
    """Its ETag is the file's SHA-256; ranges are answered."""
    folder = published_model(desk.folder, f"{run}/{round}")
    digest = desk.catalogue.card(folder).sha256 if name == WEIGHTS_FILE else None
    return download(request, folder / name, digest, f"{run}-round-{round:04d}-{name}")


@router.get("/comparison", summary="Two models side by side")
def compare_models(first: Choice, second: Choice, desk: AtDesk, _: Looks) -> Comparison:
    """What they are, how well they do, and how far apart their weights lie."""
    from mien_server.publishing.model_comparison import compare  # PyTorch

    rows = compare(any_model(desk.folder, first), any_model(desk.folder, second))
    return Comparison(
        first=first,
        second=second,
        rows=[
            ComparedBy(what=row.what, first=_known(row.first), second=_known(row.second), change=row.change)
            for row in rows
        ],
    )


def _known(value: str | float) -> str | float | None:
    return None if value != value else value
