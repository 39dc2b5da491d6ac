"""Releases over HTTP: read-only, without a login, made so that any cache may stand in front.

Enters: GET and HEAD. Leaves: ``index.json``, ``release.pub`` and, if it was ever changed, the list of such
keys, which are asked for anew after a minute, and ``<version>/<file>``, which never change and may be kept
for ever. Nothing is read but the files of releases, and nothing heavy is loaded: no PyTorch, no ONNX.

    run(releases_server(folder))
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from mien_common.errors import InputError, TrustError
from mien_common.files import read_bounded
from mien_common.release import (
    FILE_LIMITS_BYTES,
    INDEX_FILE,
    INDEX_LIMIT_BYTES,
    KEY_FILE,
    KEY_LIMIT_BYTES,
    SIGNATURE_BYTES,
    SIGNATURE_FILE,
    SUMS_FILE,
    SUMS_LIMIT_BYTES,
    parse_sums,
)
from mien_common.release_keys import KEYS_FILE, KEYS_LIMIT_BYTES
from mien_common.release_version import parse_version
from mien_server.folder import ServerFolder
from mien_server.web.listener import Certificate, Manners, PatientConnection, listener

MANNERS: Final = Manners(most_connections=128, idle_s=10, goodbye_s=1)

FOR_EVER: Final = "public, max-age=31536000, immutable"
FOR_A_MINUTE: Final = "public, max-age=60"

_TYPES: Final[Mapping[str, str]] = {
    INDEX_FILE: "application/json",
    KEYS_FILE: "application/json",
    "card.json": "application/json",
    "MODEL_CARD.md": "text/markdown; charset=utf-8",
    KEY_FILE: "application/x-pem-file",
    SUMS_FILE: "text/plain; charset=utf-8",
}
_SMALL: Final = {SUMS_FILE: SUMS_LIMIT_BYTES, SIGNATURE_FILE: SIGNATURE_BYTES}


def releases_server(folder: ServerFolder) -> uvicorn.Server:
    """The HTTPS server, on ``releases_port`` of the address that agents connect to."""
    settings = folder.settings
    app = Starlette(routes=[Mount("/releases", app=releases_app(folder))])
    app.router.redirect_slashes = False
    return listener(
        *(app, settings.listen, settings.releases_port, MANNERS, PatientConnection),
        Certificate(folder.tls / "server.crt", folder.tls / "server.key"),
    )


def releases_app(folder: ServerFolder) -> Starlette:
    """The app, with paths from where it is mounted on."""

    def index(request: Request) -> Response:
        return _changing(request, folder.releases / INDEX_FILE, INDEX_LIMIT_BYTES)

    def key(request: Request) -> Response:
        return _changing(request, folder.tls / KEY_FILE, KEY_LIMIT_BYTES)

    def keys(request: Request) -> Response:
        return _changing(request, folder.releases / KEYS_FILE, KEYS_LIMIT_BYTES)

    def file(request: Request) -> Response:
        return _unchanging(
            request, folder.releases, request.path_params["version"], request.path_params["file"]
        )

    app = Starlette(
        routes=[
            Route(f"/{INDEX_FILE}", index),
            Route(f"/{KEY_FILE}", key),
            Route(f"/{KEYS_FILE}", keys),
            Route("/{version}/{file}", file),
        ],
        exception_handlers={HTTPException: _refusal},
    )
    # A redirect to the name that the caller gave as ours is one that a cache would keep for others.
    app.router.redirect_slashes = False
    return app


def _changing(request: Request, file: Path, limit_bytes: int) -> Response:
    try:
        content = read_bounded(file, limit_bytes)
    except InputError as error:
        why = "the release key was never changed" if file.name == KEYS_FILE else "there is no release yet"
        raise HTTPException(404, why) from error
    headers = _headers(file.name, hashlib.sha256(content).hexdigest(), FOR_A_MINUTE)
    if is_known(request, headers["etag"]):
        return not_modified(headers)
    return Response(content, headers=headers)


def _unchanging(request: Request, releases: Path, version: str, name: str) -> Response:
    if name not in FILE_LIMITS_BYTES and name not in _SMALL:
        raise HTTPException(
            404, f"a release has no such file; it has {', '.join([*FILE_LIMITS_BYTES, *_SMALL])}"
        )
    try:
        folder = releases / str(parse_version(version))
        digest = digest_of_file(folder, version, name)
        found = (folder / name).stat()
    except (InputError, OSError) as error:
        raise HTTPException(404, f"there is no such release; /releases/{INDEX_FILE} lists them") from error
    except TrustError as error:
        raise HTTPException(500, "this release is damaged on the server") from error
    headers = _headers(name, digest, FOR_EVER)
    if is_known(request, headers["etag"]):
        return not_modified(headers)
    return FileResponse(folder / name, headers=headers, stat_result=found)


def digest_of_file(folder: Path, version: str, name: str) -> str:
    """SHA-256 of a release's file, from its list: a large file is not read for it.

    Raises
    ------
    InputError
        There is no such release, or no such file of it.
    TrustError
        The list is damaged.
    """
    if name in _SMALL:
        return hashlib.sha256(read_bounded(folder / name, _SMALL[name])).hexdigest()
    return parse_sums(read_bounded(folder / SUMS_FILE, SUMS_LIMIT_BYTES), version)[name]


def _headers(name: str, digest: str, keep: str) -> dict[str, str]:
    return {
        "etag": f'"{digest}"',
        "cache-control": keep,
        "content-type": _TYPES.get(name, "application/octet-stream"),
        "x-content-type-options": "nosniff",
    }


def is_known(request: Request, etag: str) -> bool:
    """Whether the caller has this very content (RFC 9110, 13.1.2: compared weakly)."""
    given = request.headers.get("if-none-match", "")
    return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in given.split(","))


def not_modified(headers: Mapping[str, str]) -> Response:
    """304, with what a cache must be told again."""
    return Response(status_code=304, headers={name: headers[name] for name in ("etag", "cache-control")})


async def _refusal(_: Request, error: Exception) -> Response:
    """An error as JSON, never kept by a cache for long: a release may come."""
    status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "error")
    headers = dict(getattr(error, "headers", None) or {})
    return JSONResponse({"detail": detail}, status, {**headers, "cache-control": "no-store"})
