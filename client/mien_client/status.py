"""How a site stands, at a glance; also of a site that is half broken, and then what is broken.

Enters: the site's folder. Leaves: :class:`SiteStatus`, for a screen or a program on this machine.
Nothing is changed, nothing is sent, and nothing heavy is loaded: no PyTorch, no OpenCV, no MediaPipe.
"""

import ctypes
import datetime as dt
import fcntl
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, TypeVar

from mien_common.errors import InputError, MienError, SettingsError
from mien_common.files import is_there, read_bounded

from .face.confinement_record import (
    ConfinementReport,
    FaceProcessRecord,
    confinement_report,
    read_face_process_record,
)
from .participants import read_calibration
from .sessions import SessionRecord, read_record, session_folders
from .site import SETTINGS_FILE, Site, SiteSettings, open_site
from .trust import Ending, ends_of_trust

RECEIPTS_SHOWN: Final = 3
_RECEIPTS_TAIL_BYTES: Final = 64 * 1024
_CARD_BYTES: Final = 1024 * 1024

T = TypeVar("T")


@dataclass(frozen=True)
class Participant:
    """What a site has of a person."""

    name: str | None
    """None: of nobody who was named."""
    sessions: int
    calibrated: str | None
    """When the neutral face was measured, ISO 8601; None where it was not."""


@dataclass(frozen=True)
class Sessions:
    """What a site has to train on."""

    to_train_on: int
    held_out: int
    unrated: int
    seconds: float
    seen: float | None
    """Share of the time in which the face was measured; None without a session."""
    extractors: dict[str, int]
    """Sessions by what made their features; each is on a scale of its own."""
    unconfined: int
    """Sessions whose face process was not confined."""

    @property
    def total(self) -> int:
        """All readable sessions."""
        return self.to_train_on + self.held_out + self.unrated


@dataclass(frozen=True)
class Model:
    """The newest global model the site received."""

    run: str
    round: int
    created: str


@dataclass(frozen=True)
class Sent:
    """One line of what left."""

    time: str
    run: str
    kind: str
    bytes: int


@dataclass
class SiteStatus:
    """How a site stands; None where it cannot be told, and then ``problems`` says why."""

    folder: Path
    settings: SiteSettings | None = None
    agent_running: bool | None = None
    sessions: Sessions | None = None
    participants: list[Participant] = field(default_factory=list)
    face_process: FaceProcessRecord | None = None
    """How the last one handled frames; None where there was none yet."""
    confinement: ConfinementReport | None = None
    """What this machine can do now."""
    gpus: int = 0
    model: Model | None = None
    sent: list[Sent] = field(default_factory=list)
    """The last parcels, newest first."""
    free_bytes: int | None = None
    ending: list[Ending] = field(default_factory=list)
    """What this site's trust rests on and that ends within thirty days."""
    problems: list[str] = field(default_factory=list)
    """What is broken, a sentence each."""


def site_status(folder: Path) -> SiteStatus:
    """How the site in ``folder`` stands.

    Raises
    ------
    SettingsError
        The folder is no site at all. Of one that is broken as much is told as can be.
    """
    if not is_there(folder / SETTINGS_FILE):
        raise SettingsError(
            f"{folder} is not a site: it has no {SETTINGS_FILE}. Make one with `mien agent init`."
        )
    status = SiteStatus(folder)

    def attempt(ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except MienError as error:
            status.problems.append(str(error))
        except OSError as error:
            status.problems.append(f"{error.filename or folder}: {error.strerror or error}.")
        return None

    status.settings = attempt(lambda: open_site(folder).settings)
    # Where things lie does not depend on the settings; a name is needed to ask.
    site = Site(folder, status.settings or SiteSettings(name="unknown", server="unknown:1"))
    attempt(site.private_key)
    attempt(site.root_certificate)
    status.agent_running = attempt(lambda: _agent_running(site))
    records = _records(site, attempt)
    status.sessions = _sessions(records)
    status.participants = _participants(site, records, attempt)
    status.face_process = attempt(lambda: read_face_process_record(site.state))
    status.confinement = attempt(confinement_report)
    status.gpus = cuda_devices()
    status.model = attempt(lambda: _newest(site))
    status.sent = attempt(lambda: _last_sent(site)) or []
    status.ending = attempt(lambda: ends_of_trust(site, dt.datetime.now(dt.UTC))) or []
    status.free_bytes = attempt(lambda: shutil.disk_usage(folder).free)
    return status


def _agent_running(site: Site) -> bool:
    """Whether somebody holds the agent's lock; it is not taken from anybody."""
    path = site.state / "agent.lock"
    if not is_there(path):
        return False
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _records(site: Site, attempt: Callable[[Callable[[], Any]], Any]) -> list[SessionRecord]:
    folders = attempt(lambda: list(session_folders(site.sessions))) or []
    found = [attempt(lambda folder=folder: read_record(folder)) for folder in folders]  # type: ignore[misc]
    return [record for record in found if record is not None]


def _sessions(records: list[SessionRecord]) -> Sessions:
    seconds = sum(sum(record.seconds.values()) for record in records)
    seen = sum(record.seconds.get("seen", 0.0) for record in records)
    return Sessions(
        to_train_on=sum(record.rated and not record.held_out for record in records),
        held_out=sum(record.held_out for record in records),
        unrated=sum(not record.rated and not record.held_out for record in records),
        seconds=seconds,
        seen=seen / seconds if seconds else None,
        extractors=dict(Counter(record.features_from for record in records).most_common()),
        unconfined=sum(not record.confined for record in records),
    )


def _participants(
    site: Site, records: list[SessionRecord], attempt: Callable[[Callable[[], Any]], Any]
) -> list[Participant]:
    counts = Counter(record.participant for record in records)
    names = {name for name in counts if name is not None}
    if site.calibrations.is_dir():
        names |= {path.stem for path in site.calibrations.glob("[!.]*.json")}
    result = []
    for name in sorted(names):
        calibration = attempt(lambda name=name: read_calibration(site, name))  # type: ignore[misc]
        result.append(Participant(name, counts[name], calibration.created if calibration else None))
    if counts[None]:
        result.append(Participant(None, counts[None], None))
    return result


def cuda_devices() -> int:
    """CUDA devices that PyTorch could use, asked of the driver: PyTorch itself takes seconds to load."""
    try:
        if version("torch").endswith("+cpu"):
            return 0
        driver = ctypes.CDLL("libcuda.so.1")
    except (OSError, PackageNotFoundError):
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _newest(site: Site) -> Model | None:
    folder = site.models / "newest"
    if not folder.exists():
        return None
    path = folder / "card.json"  # by its name: the module that reads it whole loads PyTorch
    try:
        card = json.loads(read_bounded(path, _CARD_BYTES))
        return Model(str(card["run"]), int(card["round"]), str(card["created"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is damaged. The next round's model replaces it.") from error


def _last_sent(site: Site) -> list[Sent]:
    if not is_there(site.receipts):
        return []
    with site.receipts.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(file.tell() - _RECEIPTS_TAIL_BYTES, 0))
        lines = file.read().splitlines()
    sent: list[Sent] = []
    for line in reversed(lines):
        if len(sent) == RECEIPTS_SHOWN:
            break
        try:
            receipt = json.loads(line)
            sent.append(Sent(receipt["time"], receipt["run"], receipt["kind"], int(receipt["bytes"])))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                f"{site.receipts} holds a line that is no receipt: it was changed, or the disk is faulty."
            ) from error
    return sent
