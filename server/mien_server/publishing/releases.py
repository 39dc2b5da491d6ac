"""Releases: published models under a version, signed, never changed again; ``latest`` points to one of them.

Enters: a published model's folder. Leaves: ``releases/1.0.0/`` with everything :mod:`mien_common.release`
lists, whole or absent at any moment; the link ``releases/latest``; the signed ``releases/index.json`` of
them all.
"""

import contextlib
import datetime as dt
import hashlib
import logging
import os
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import JsonValue

from mien_common.card import CARD_FILE, WEIGHTS_FILE, ModelCard, ReleaseFacts, read_card
from mien_common.errors import InputError, MienError, ModelError, SettingsError, TrustError
from mien_common.files import (
    is_there,
    make_folder,
    new_folder,
    read_bounded,
    sole_writer,
    storage_errors,
    write_atomic,
)
from mien_common.release import (
    FILE_LIMITS_BYTES,
    INDEX_FILE,
    INDEX_LIMIT_BYTES,
    SIGNATURE_BYTES,
    SIGNATURE_FILE,
    SUMS_FILE,
    SUMS_LIMIT_BYTES,
    IndexEntry,
    ReleaseIndex,
    public_pem,
    signed_index,
    sums_text,
    verified_index,
    verified_sums,
)
from mien_common.release_version import ReleaseVersion, parse_version
from mien_server.folder import ServerFolder
from mien_server.publishing.model_card import model_card
from mien_server.publishing.registry import LATEST
from mien_server.publishing.release_key import change_release_key, former_keys, release_key
from mien_server.server_events import record_event

FIRST: Final = ReleaseVersion(1, 0, 0)
READ_ONLY: Final = 0o444
CARD_PAGE: Final = "MODEL_CARD.md"
ONNX_FILE: Final = "model.onnx"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Release:
    """One release on the server's disk."""

    version: ReleaseVersion
    path: Path
    card: ModelCard
    is_latest: bool


def promote(folder: ServerFolder, model: Path, version: ReleaseVersion | None, now: dt.datetime) -> Release:
    """Make a release of a published model; ``latest`` moves to it if it is the highest, and no trial.

    Parameters
    ----------
    model : the published model's folder.
    version : None for the next minor one after the highest, 1.0.0 at first.

    Raises
    ------
    SettingsError
        The version is taken: a release is never overwritten.
    ModelError
        The model is damaged.
    StorageError
        It cannot be written; nothing half is left.
    """
    from mien_common.published import read_published  # PyTorch, for which who only lists them need not wait
    from mien_server.publishing.onnx_graph import OPSET, to_onnx

    card, weights = read_published(model)
    content = read_bounded(model / WEIGHTS_FILE, FILE_LIMITS_BYTES[WEIGHTS_FILE])
    with _locked(folder):
        known = list_releases(folder)
        version = _next_version(known) if version is None else version
        if is_there(folder.releases / str(version)):
            raise SettingsError(
                f"release {version} exists, and a release is never overwritten. Give another --version, or "
                "leave it out for the next one."
            )
        facts = ReleaseFacts(
            version=str(version),
            created=now.astimezone(dt.UTC).isoformat(timespec="seconds"),
            opset=OPSET,
            training=_settings_of(folder, card.run),
        )
        sealed = card.model_copy(update={"release": facts})
        onnx_facts = {
            "mien.release": str(version),
            "mien.schema": card.schema_name,
            "mien.channels": ",".join(card.channels),
            "mien.rate_hz": f"{card.rate_hz:g}",
            "mien.targets": ",".join(card.targets),
        }
        contents = {
            WEIGHTS_FILE: content,
            ONNX_FILE: to_onnx(weights, card.architecture, onnx_facts),
            CARD_FILE: sealed.model_dump_json(indent=2).encode() + b"\n",
            CARD_PAGE: model_card(sealed).encode(),
        }
        path = _write(folder, version, contents)
        latest = _latest_version(folder)
        moves = not version.is_preview and (latest is None or latest < version)
        try:
            _tell(folder, version if moves else latest, now)
        except MienError:  # no site can know of it yet, so it may still be taken back
            shutil.rmtree(path, ignore_errors=True)
            raise
    record_event(folder, "promoted", version=str(version), run=card.run, round=card.round)
    log.info("event=promoted version=%s run=%s round=%d", version, card.run, card.round)
    return Release(version, path, sealed, moves)


def roll_back(folder: ServerFolder, version: ReleaseVersion, now: dt.datetime) -> Release:
    """Point ``latest`` to an existing release, whichever it is; nothing is removed.

    Raises
    ------
    InputError
        There is no such release.
    TrustError
        It is damaged.
    StorageError
        It cannot be written; ``latest`` stays what it was.
    """
    with _locked(folder):
        path = folder.releases / str(version)
        if not is_there(path):
            raise InputError(f"there is no release {version}. `mien server releases` lists them.")
        check_release(path, str(version), release_key(folder.tls).public_key(), *former_keys(folder))
        card = read_card(path)
        _tell(folder, version, now)
    record_event(folder, "rolled_back", version=str(version), run=card.run, round=card.round)
    log.info("event=rolled_back version=%s", version)
    return Release(version, path, card, True)


def list_releases(folder: ServerFolder) -> list[Release]:
    """Every release, lowest version first; folders that are none are left out."""
    latest = _latest_version(folder)
    found = []
    for path in folder.releases.glob("[!.]*/"):
        if not path.is_symlink():
            with contextlib.suppress(InputError):
                version = parse_version(path.name)
                found.append(Release(version, path, read_card(path), version == latest))
    return sorted(found, key=lambda release: release.version)


def rotate_release_key(folder: ServerFolder, now: dt.datetime) -> tuple[Ed25519PublicKey, Ed25519PublicKey]:
    """Sign releases with a new key from now on; the public halves of the old one and of the new one."""
    with _locked(folder):
        old, new = change_release_key(folder, now)
        if list_releases(folder):
            _write_index(folder, now)
    record_event(folder, "release_key_rotated")
    log.info("event=release_key_rotated")
    return old, new


def refresh_index(folder: ServerFolder, now: dt.datetime) -> None:
    """Make ``index.json`` say what is there: a crash may have come before it was written."""
    with _locked(folder):
        try:
            content = read_bounded(folder.releases / INDEX_FILE, INDEX_LIMIT_BYTES)
            written = verified_index(content, release_key(folder.tls).public_key())
        except (InputError, TrustError):
            _write_index(folder, now)
            return
        if written != _index(folder, written.created):
            _write_index(folder, now)


def check_release(path: Path, version: str, key: Ed25519PublicKey, *former: Ed25519PublicKey) -> None:
    """Raise TrustError unless every file of the release in ``path`` is as one of the keys signed it."""
    try:
        sums = read_bounded(path / SUMS_FILE, SUMS_LIMIT_BYTES)
        signature = read_bounded(path / SIGNATURE_FILE, SIGNATURE_BYTES)
        for name, digest in verified_sums(sums, signature, version, key, *former).items():
            if hashlib.sha256(read_bounded(path / name, FILE_LIMITS_BYTES[name])).hexdigest() != digest:
                raise TrustError(f"{path / name} is not what was signed.")
    except (InputError, TrustError) as error:
        raise TrustError(f"release {version} in {path} is damaged: {error}") from error


def _write(folder: ServerFolder, version: ReleaseVersion, contents: dict[str, bytes]) -> Path:
    key = release_key(folder.tls)
    sums = sums_text(
        str(version), {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    )
    path = folder.releases / str(version)
    with new_folder(path) as draft:
        for name, content in {**contents, SUMS_FILE: sums, SIGNATURE_FILE: key.sign(sums)}.items():
            write_atomic(draft / name, content, mode=READ_ONLY)
    return path


def _next_version(known: list[Release]) -> ReleaseVersion:
    return known[-1].version.next_minor() if known else FIRST


def _settings_of(folder: ServerFolder, run: str) -> dict[str, JsonValue]:
    from mien_server.runs.settings import read_run

    try:
        return read_run(folder.runs / run).model_dump(mode="json")
    except MienError:  # the run's folder was put away, or is of an older version
        return {}


def _latest_version(folder: ServerFolder) -> ReleaseVersion | None:
    try:
        return parse_version((folder.releases / LATEST).readlink().name)
    except (OSError, InputError):
        return None


def _tell(folder: ServerFolder, latest: ReleaseVersion | None, now: dt.datetime) -> None:
    """Point to the latest release, and say so to sites: both, or neither."""
    before = _latest_version(folder)
    try:
        if latest != before:
            _point_latest(folder, latest)
        _write_index(folder, now)
    except MienError:
        if _latest_version(folder) != before:
            _point_latest(folder, before)
        raise


def _point_latest(folder: ServerFolder, version: ReleaseVersion | None) -> None:
    if version is None:
        (folder.releases / LATEST).unlink(missing_ok=True)
        return
    draft = folder.releases / f".{LATEST}.{os.getpid()}"
    with storage_errors(folder.releases / LATEST):
        draft.unlink(missing_ok=True)
        draft.symlink_to(str(version))
        draft.replace(folder.releases / LATEST)


def _write_index(folder: ServerFolder, now: dt.datetime) -> None:
    index = _index(folder, now.astimezone(dt.UTC).isoformat(timespec="seconds"))
    write_atomic(folder.releases / INDEX_FILE, signed_index(index, release_key(folder.tls)))


def _index(folder: ServerFolder, created: str) -> ReleaseIndex:
    entries = [entry for release in list_releases(folder) if (entry := _entry(release)) is not None]
    latest = _latest_version(folder)
    known = latest is not None and any(entry.version == str(latest) for entry in entries)
    return ReleaseIndex(
        created=created,
        latest=str(latest) if known else None,
        releases=tuple(entries),
        former_keys=tuple(public_pem(key).decode() for key in former_keys(folder)),
    )


def _entry(release: Release) -> IndexEntry | None:
    card, facts = release.card, release.card.release
    try:
        sums = read_bounded(release.path / SUMS_FILE, SUMS_LIMIT_BYTES)
        sizes = {name: (release.path / name).stat().st_size for name in FILE_LIMITS_BYTES}
        if facts is None:
            raise ModelError("its card is not that of a release")
    except (OSError, InputError) as error:
        log.warning("event=release_left_out version=%s reason=%s", release.version, error)
        return None
    return IndexEntry(
        version=str(release.version),
        created=facts.created,
        schema_name=card.schema_name,
        run=card.run,
        round=card.round,
        sums_sha256=hashlib.sha256(sums).hexdigest(),
        bytes=sizes,
    )


def _locked(folder: ServerFolder) -> AbstractContextManager[None]:
    """One writer at a time; what a killed one left half-written is removed."""
    make_folder(folder.releases)
    make_folder(folder.state, mode=0o700)
    return sole_writer(folder.releases, folder.state / "releases.lock")
