"""What may stand in a path or a query: names, numbers and versions, by strict patterns."""

from typing import Annotated, Final

from fastapi import Path
from pydantic import BeforeValidator

from mien_common.release_version import LONGEST, VERSION_PATTERN
from mien_server.runs.settings import RUN_NAME

LAST_ID: Final = 2**53 - 1
"""The highest number that every reader of JSON takes whole."""


_NAME: Final = f"^{RUN_NAME}$"

RunName = Annotated[str, Path(pattern=_NAME, description="The run's name.", examples=["2026-11-23-001"])]


def _whole(value: object) -> object:
    """In JSON 3.0 is the integer 3 (JSON Schema, 4.2.3)."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
RoundNumber = Annotated[int, Path(ge=0, le=9_999_999, description="The round's number.", examples=[3])]
Version = Annotated[
    str,
    Path(
        pattern=VERSION_PATTERN, max_length=LONGEST, description="The release's version.", examples=["1.0.0"]
    ),
]
