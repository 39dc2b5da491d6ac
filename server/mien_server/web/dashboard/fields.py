"""What may stand in a path or a query: names, numbers and versions, by strict patterns."""

from typing import Annotated, Final

from fastapi import Path

from mien_common.release_version import LONGEST, VERSION_PATTERN
from mien_server.runs.settings import RUN_NAME

LAST_ID: Final = 2**53 - 1
"""The highest number that every reader of JSON takes whole."""


_NAME: Final = f"^{RUN_NAME}$"

RunName = Annotated[str, Path(pattern=_NAME, description="The run's name.", examples=["2026-11-23-001"])]
RoundNumber = Annotated[int, Path(ge=0, le=9_999_999, description="The round's number.")]
Version = Annotated[
    str, Path(pattern=VERSION_PATTERN, max_length=LONGEST, description="The release's version.")
]
