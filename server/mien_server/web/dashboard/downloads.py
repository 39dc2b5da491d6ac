"""A file as a download: its hash as ETag, ranges, and a name to keep it under."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fastapi import HTTPException, Request
from fastapi.responses import FileResponse, Response

from mien_common.errors import InputError
from mien_common.files import read_bounded
from mien_server.web.dashboard.problems import problems
from mien_server.web.releases import is_known, not_modified

SMALL_FILE_BYTES: Final = 1024 * 1024
BINARY: Final = "application/octet-stream"

DOWNLOAD: Final[Mapping[str, Any]] = {
    "response_class": FileResponse,
    "responses": {
        200: {"content": {BINARY: {"schema": {"type": "string", "format": "binary"}}}},
        206: {"description": "The part of it that was asked for (Range)."},
        304: {"description": "The caller has this very content (If-None-Match)."},
        416: {"description": "It has no such part."},
        **problems(404, 409, 503),
    },
}
"""What the documentation says of a route that hands out files."""


def download(
    request: Request, path: Path, digest: str | None, name: str, keep: str = "private, no-cache"
) -> Response:
    """The file at ``path``, to be saved as ``name``.

    Parameters
    ----------
    digest : its SHA-256; None for a small file, whose own is taken.
    name : letters, digits, dots and dashes only, by the patterns of the route.
    """
    try:
        found = path.stat()
        digest = digest or hashlib.sha256(read_bounded(path, SMALL_FILE_BYTES)).hexdigest()
    except (OSError, InputError) as error:
        raise HTTPException(404, "there is no such file") from error
    headers = {"etag": f'"{digest}"', "cache-control": keep}
    if is_known(request, headers["etag"]):
        return not_modified(headers)
    return FileResponse(path, headers=headers, media_type=BINARY, filename=name, stat_result=found)
