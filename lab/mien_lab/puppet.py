"""Demo data: a photograph in, a folder of participants with videos and ratings out.

It is a puppeteered photograph: real input for the whole path, and no evidence about people.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mien_common.errors import SettingsError, StorageError
from mien_common.files import storage_errors, write_atomic
from mien_lab.puppet_face import build_stage, read_photo
from mien_lab.puppet_filming import Take, film_all, rest
from mien_lab.puppet_landmarks import photo_landmarks
from mien_lab.puppet_script import NOTE, Participant, frame_count, participant

README_FILE: Final = "README.txt"
PARTICIPANT_FILE: Final = "participant.json"
REST_FILE: Final = "rest.avi"
_TITLE: Final = "Puppeteered photograph, made by `mien lab puppet`"
_OURS: Final = re.compile(r"README\.txt|participant-\d{2}")


class PuppetSettings(BaseModel):
    """What to make."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    participants: int = Field(default=4, ge=1, le=99)
    sessions: int = Field(default=3, ge=1, le=99)
    seconds: float = Field(default=60.0, ge=1.0, le=1200.0)
    rest_s: float = Field(default=0.0, ge=0.0, le=120.0)
    """How long each resting face is filmed, for ``mien agent calibrate``; not at all when 0."""
    seed: int = Field(default=7, ge=0, lt=2**32)
    workers: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)

    @property
    def frames(self) -> int:
        """Frames of all videos together."""
        rest = frame_count(self.rest_s) if self.rest_s else 0
        return self.participants * (self.sessions * frame_count(self.seconds) + rest)


@dataclass(frozen=True)
class PuppetFolder:
    """What was made."""

    folder: Path
    videos: tuple[Path, ...]
    frames: int
    bytes: int


def settings_from(**values: Any) -> PuppetSettings:
    """Checked settings.

    Raises
    ------
    SettingsError
        A value is out of range; the message names it.
    """
    try:
        return PuppetSettings(**values)
    except ValidationError as error:
        problem = error.errors()[0]
        name = "--" + ".".join(str(part) for part in problem["loc"])
        raise SettingsError(f"{name} {problem['input']}: {problem['msg']}.") from error


def make_puppets(
    settings: PuppetSettings, out: Path, photo: Path | None, progress: Callable[[int, int], None]
) -> PuppetFolder:
    """Write the whole data set, or nothing.

    Parameters
    ----------
    out : folder to make; an earlier data set of this command there is replaced.
    photo : a portrait; scikit-image's public-domain astronaut when None.
    progress : called with frames done and frames in total.

    Raises
    ------
    InputError
        The photo cannot be read, or shows no face that can be animated.
    StorageError
        ``out`` holds something else, or cannot be written.
    """
    out = out.resolve()
    _require_ours(out)
    picture = read_photo(photo)
    stage = build_stage(picture, photo_landmarks(picture))
    people = [participant(settings.seed, index) for index in range(1, settings.participants + 1)]
    source = "skimage.data.astronaut()" if photo is None else photo.name
    done = 0

    def report(frames: int) -> None:
        nonlocal done
        done += frames
        progress(done, settings.frames)

    with _whole_folder(out) as draft:
        takes, rests = [], []
        for who in people:
            (draft / who.name).mkdir()
            own = [_take(draft / who.name, who, session, settings.seconds) for session in _sessions(settings)]
            record = _record(who, own, source, rest(stage).model_dump())
            write_atomic(draft / who.name / PARTICIPANT_FILE, record)
            takes += own
            if settings.rest_s:
                rests.append(Take(who, 0, settings.rest_s, draft / who.name / REST_FILE, None))
        film_all([*takes, *rests], stage, settings.workers, report)
        write_atomic(draft / README_FILE, _readme(settings, source).encode())
    videos = tuple(out / take.video.relative_to(draft) for take in takes)
    return PuppetFolder(out, videos, settings.frames, sum(video.stat().st_size for video in videos))


def _sessions(settings: PuppetSettings) -> range:
    return range(1, settings.sessions + 1)


def _take(folder: Path, who: Participant, session: int, seconds: float) -> Take:
    stem = f"session-{session:02d}"
    return Take(who, session, seconds, folder / f"{stem}.avi", folder / f"{stem}.csv")


def _record(who: Participant, takes: list[Take], photo: str, neutral: dict[str, float]) -> bytes:
    record = who.model_dump() | {
        "photo": photo,
        "neutral_face": {name: round(weight, 4) for name, weight in neutral.items()},
        "sessions": [
            {
                "video": take.video.name,
                "ratings": take.ratings.name,
                "seconds": take.seconds,
                "frames": frame_count(take.seconds),
            }
            for take in takes
            if take.ratings is not None
        ],
    }
    return (json.dumps(record, indent=2) + "\n").encode()


def _readme(settings: PuppetSettings, photo: str) -> str:
    return f"""{_TITLE}

{NOTE}

Every video here is one photograph ({photo}) whose face was warped by a program, frame by frame,
to follow a random script of valence and arousal. Nobody felt or rated anything. Models trained on
these files have learned the program, not people.

{settings.participants} participants with {settings.sessions} sessions of {settings.seconds:g} s each: \
25 frames/s, 640x480, Motion JPEG; seed {settings.seed}.
participant-NN/participant.json   what makes this puppet differ: lag, rating bias, face, camera, light
participant-NN/session-NN.avi     the video
participant-NN/session-NN.csv     time (s), valence and arousal in [-1, 1], 25 Hz; they lag the face by lag_s
participant-NN/rest.avi           the face at rest, for `mien agent calibrate`, where --rest-s asked for it

The folder is replaced as a whole when the command runs again with the same --out.
"""


def _require_ours(out: Path) -> None:
    """Raise StorageError when ``out`` holds anything this command did not write."""
    with storage_errors(out):
        if not out.exists():
            return
        names = sorted(entry.name for entry in out.iterdir())  # NotADirectoryError for a file
        if not names:
            return
        readme = out / README_FILE
        signed = readme.is_file() and readme.read_bytes().startswith(_TITLE.encode())
    foreign = [name for name in names if not _OURS.fullmatch(name)]
    if not signed or foreign:
        raise StorageError(
            f"{out} is not empty and holds files that `mien lab puppet` did not make "
            f"({', '.join((foreign or names)[:3])}). Choose another --out, or empty the folder yourself."
        )


@contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """Fill a hidden folder beside ``out``; it takes ``out``'s place only when all of it is there."""
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        with storage_errors(out):
            draft = work / "draft"
            draft.mkdir()
            yield draft
            if out.exists():
                _require_ours(out)  # once more: rendering took a while
                out.rename(work / "before")
            draft.rename(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
