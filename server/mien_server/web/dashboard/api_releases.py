"""Releases: listed, fetched, made of a round's model; and which is the latest."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from mien_common.release_version import LONGEST, VERSION_PATTERN, parse_version
from mien_server.facts import ReleaseFacts
from mien_server.publishing.model_choice import published_model
from mien_server.publishing.releases import promote, roll_back
from mien_server.runs.settings import RUN_NAME
from mien_server.web.dashboard.desk import AtDesk, Desk
from mien_server.web.dashboard.downloads import DOWNLOAD, download
from mien_server.web.dashboard.fields import Version, Whole
from mien_server.web.dashboard.login import Does, Looks
from mien_server.web.dashboard.problems import DOING, LOOKING
from mien_server.web.releases import FOR_EVER, digest_of_file

router = APIRouter(tags=["releases"])

FileName = Annotated[
    Literal["model.safetensors", "model.onnx", "card.json", "MODEL_CARD.md", "SHA256SUMS", "SHA256SUMS.sig"],
    Path(description="What of the release to fetch."),
]
GivenVersion = Annotated[str, Field(pattern=VERSION_PATTERN, max_length=LONGEST)]


class Promotion(BaseModel):
    """A round's model that is to become a release."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    run: str = Field(pattern=f"^{RUN_NAME}$", examples=["2026-11-23-001"])
    round: Whole = Field(ge=0, le=9_999_999, examples=[3])
    version: GivenVersion | None = Field(
        default=None, description="The highest one's next minor, if left out; 1.0.0 at first."
    )


class Latest(BaseModel):
    """The release that sites should have."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: GivenVersion = Field(examples=["1.0.0"])


@router.get("/releases", summary="Every release", responses=LOOKING)
def list_releases(desk: AtDesk, _: Looks) -> list[ReleaseFacts]:
    """The highest version first."""
    return desk.catalogue.releases()


@router.get("/releases/{version}/files/{name}", summary="Fetch a release's file", **DOWNLOAD)
def fetch_release(version: Version, name: FileName, request: Request, desk: AtDesk, _: Looks) -> Response:
    """It never changes. Its ETag is the file's SHA-256; ranges are answered."""
    path = desk.folder.releases / version / name
    digest = digest_of_file(path.parent, version, name)
    return download(request, path, digest, f"{version}-{name}", FOR_EVER.replace("public", "private"))


@router.post("/releases", status_code=201, summary="Make a release", responses=DOING)
def make_release(wanted: Promotion, desk: AtDesk, _: Does) -> ReleaseFacts:
    """Sign a round's model under a version; never changed again. The highest one becomes the latest."""
    model = published_model(desk.folder, f"{wanted.run}/{wanted.round}")
    version = parse_version(wanted.version) if wanted.version is not None else None
    made = promote(desk.folder, model, version, desk.clock())
    return _release(desk, str(made.version))


@router.put("/releases/latest", summary="Make another release the latest", responses=DOING)
def set_latest(wanted: Latest, desk: AtDesk, _: Does) -> ReleaseFacts:
    """An earlier one or a later one. No release is removed."""
    roll_back(desk.folder, parse_version(wanted.version), desk.clock())
    return _release(desk, wanted.version)


def _release(desk: Desk, version: str) -> ReleaseFacts:
    return next(release for release in desk.catalogue.releases() if release.version == version)
