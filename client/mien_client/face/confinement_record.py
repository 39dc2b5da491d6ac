"""Whether this machine can confine a face process, whether it must, and what the last one said.

Enters: what a face process reported of itself. Leaves: ``state/face_process.json`` in the site's folder,
for ``mien agent status`` and the sessions' records. It says how frames were handled, never what was on them.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mien_common.errors import ConfinementError, InputError
from mien_common.files import make_folder, read_bounded, write_atomic

from .landlock import landlock_abi

RECORD_FILE: Final = "face_process.json"
_RECORD_LIMIT_BYTES: Final = 64 * 1024
_TRIAL: Final = "from mien_client.face.confinement import confine; confine()"
_TRIAL_DEADLINE_S: Final = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FaceProcessRecord:
    """How the last face process of a site handled frames."""

    at: str
    """When it started, ISO 8601, UTC."""
    confined: bool
    """False only after ``--allow-unconfined-face-process``."""
    landlock_abi: int
    """The second layer; 0 where the kernel has none, and a face process could read other files."""
    restarts: int
    """How often another process had to take over."""

    def __str__(self) -> str:
        if not self.confined:
            return "NOT CONFINED, as --allow-unconfined-face-process was given"
        second = f"Landlock {self.landlock_abi}" if self.landlock_abi else "no Landlock on this kernel"
        return f"confined (seccomp, {second})"


@dataclass(frozen=True)
class ConfinementReport:
    """What this machine can do, tried just now."""

    possible: bool
    reason: str
    """Why not; empty where it is possible."""
    landlock_abi: int

    def __str__(self) -> str:
        if not self.possible:
            return f"cannot be confined here: {self.reason}"
        return (
            f"can be confined here (seccomp{f', Landlock {self.landlock_abi}' if self.landlock_abi else ''})"
        )


def confinement_report() -> ConfinementReport:
    """Try the confinement in a process of its own, which ends at once; takes about 0.2 s."""
    trial = subprocess.run(
        [sys.executable, "-I", "-B", "-c", _TRIAL],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TRIAL_DEADLINE_S,
        env={"PATH": os.environ.get("PATH", ""), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    # The last line of a Python error is the error itself, after the name of its kind.
    last = trial.stderr.strip().rpartition("\n")[2].partition(": ")[2]
    reason = "" if trial.returncode == 0 else last or f"the trial ended with status {trial.returncode}"
    return ConfinementReport(trial.returncode == 0, reason, landlock_abi() if sys.platform == "linux" else 0)


def require_confinement(allow_unconfined: bool) -> bool:
    """Whether this command's face processes are to be confined, for ``FaceProcess(confined=...)``.

    Confined wherever that is possible, also where the user would allow it without. Where it is not
    possible and not allowed, the answer is yes too, and the face process refuses with its reason.
    """
    if not allow_unconfined:
        return True
    report = confinement_report()
    if not report.possible:
        _log.warning("going on without, as you allowed: the face process %s", report)
    return report.possible


def write_face_process_record(state: Path, confinement: Mapping[str, object], restarts: int) -> None:
    """Keep what a :class:`~mien_client.face.process.FaceProcess` said of its ``confinement``.

    Raises
    ------
    StorageError
        The site's folder cannot be written.
    """
    record = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "confined": confinement.get("confined") is True,
        "landlock_abi": confinement.get("landlock_abi", 0),
        "restarts": restarts,
    }
    make_folder(state, mode=0o700)
    write_atomic(state / RECORD_FILE, (json.dumps(record, indent=2) + "\n").encode())


def read_face_process_record(state: Path) -> FaceProcessRecord | None:
    """What the site's last face process said; None where there was none yet.

    Raises
    ------
    ConfinementError
        The record is damaged.
    """
    path = state / RECORD_FILE
    if not path.exists():
        return None
    try:
        content: Any = json.loads(read_bounded(path, _RECORD_LIMIT_BYTES))
        at, confined = content["at"], content["confined"]
        abi, restarts = content["landlock_abi"], content["restarts"]
    except (InputError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path) from error
    if not (isinstance(at, str) and isinstance(confined, bool) and type(abi) is type(restarts) is int):
        raise _damaged(path)
    return FaceProcessRecord(at, confined, abi, restarts)


def _damaged(path: Path) -> ConfinementError:
    return ConfinementError(f"{path} is damaged. Remove it; the next video writes it again.")
