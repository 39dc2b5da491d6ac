"""Which recordings a site has already, by their content; so that none is taken twice.

Enters: the sessions' records. Leaves: a claim on a recording, or the session that has it. A claim is
one locked byte of a file, at a place that the content's hash gives: several ingests on one site,
in one process or in many, never work on the same recording, and a killed one leaves no claim behind.
"""

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mien_common.errors import InputError, SessionError
from mien_common.files import make_folder, read_bounded, storage_errors

from .sessions import SESSION_FILE, session_folders
from .site import Site

_RECORD_BYTES: Final = 1024 * 1024
_WAIT_S: Final = 0.2


@dataclass(frozen=True)
class Known:
    """What is already there of a recording."""

    folder: Path
    rated: bool
    held_out: bool
    participant: str | None


class AlreadyHereError(SessionError):
    """The recording has been ingested before."""

    def __init__(self, known: Known) -> None:
        super().__init__(
            f"this recording is already here as {known.folder}. Remove that folder to ingest it again."
        )
        self.known = known


class BeingIngestedError(SessionError):
    """Another process is ingesting the recording right now."""


class KnownRecordings:
    """The recordings of one site; used by all threads of one ingest."""

    def __init__(self, site: Site) -> None:
        self._sessions = site.sessions
        self._known: dict[str, Known] = {}
        self._folders: set[str] = set()
        self._claimed: set[str] = set()
        self._changed = threading.Condition()
        path = site.state / "ingest.lock"
        make_folder(site.state, mode=0o700)
        with storage_errors(path):
            self._lock_file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock_file)

    @contextmanager
    def claim(self, digest: str, check_on: Callable[[], None]) -> Iterator[None]:
        """Hold a recording while it is ingested.

        A recording that this process is at work on is waited for; ``check_on`` is called meanwhile, and
        may raise to stop.

        Raises
        ------
        AlreadyHereError
            A session has it.
        BeingIngestedError
            Another process is at work on it.
        """
        place = int(digest[:15], 16)
        with self._changed:
            while digest in self._claimed:
                self._changed.wait(_WAIT_S)
                check_on()
            try:
                fcntl.lockf(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
            except OSError as error:
                raise BeingIngestedError(
                    "another `mien agent ingest` is at work on it now. Nothing to do."
                ) from error
            self._claimed.add(digest)
        try:
            # Looked for under the lock: another process may just have finished it.
            known = self._find(digest)
            if known is not None:
                raise AlreadyHereError(known)
            yield
        finally:
            with self._changed:
                self._claimed.discard(digest)
                fcntl.lockf(self._lock_file, fcntl.LOCK_UN, 1, place)
                self._changed.notify_all()

    def _find(self, digest: str) -> Known | None:
        with self._changed:
            for folder in session_folders(self._sessions):
                if folder.name not in self._folders:
                    self._folders.add(folder.name)
                    self._read(folder)
            known = self._known.get(digest)
        return known if known is not None and known.folder.is_dir() else None

    def _read(self, folder: Path) -> None:
        """Note whose content a session is; one that is damaged, or of an older version, may still say so."""
        try:
            record = json.loads(read_bounded(folder / SESSION_FILE, _RECORD_BYTES))
            digest = record["source_sha256"]
            known = Known(folder, bool(record["rated"]), bool(record["held_out"]), record.get("participant"))
        except (InputError, ValueError, KeyError, TypeError, RecursionError):
            return
        if isinstance(digest, str):
            self._known[digest] = known
