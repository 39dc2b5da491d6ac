"""What the tests of the client room share: made-up sessions, a site, a face on film."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from flwr.app import Message, Metadata, RecordDict
from flwr.app.message.message import make_message
from numpy.typing import NDArray
from skimage import data

from mien_client.features import Features, clock_for
from mien_client.observations import FaceState
from mien_client.sessions import Session, session_record
from mien_client.site import Site, SiteSettings, create_site

Image = NDArray[np.uint8]

REAL_CLIPS = Path(__file__).parents[3] / "shared" / "media" / "faces"


@pytest.fixture(autouse=True)
def _this_process_keeps_its_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """`mien agent ingest` gives up its process's network for good; here that process would be pytest.

    ``test_confinement.py`` tries the real thing, in processes of its own.
    """
    monkeypatch.setattr("mien_client.face.confinement.deny_network", lambda: None)


@pytest.fixture(autouse=True)
def _this_process_keeps_its_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a source has the C library give back or overwrite what is freed, also for good.

    In a process that runs hundreds of tests every array would be mapped and unmapped; it costs minutes.
    ``test_frame_memory.py`` tries the real thing, in processes of its own.
    """
    monkeypatch.setattr("mien_client.sources.opening.overwrite_freed_memory", lambda: None)


class MakeSession(Protocol):
    """Makes a session; see the fixture of this name."""

    def __call__(
        self, session_id: str, *, seconds: float = 4.0, seed: int = 0, **changes: Any
    ) -> Session: ...


class MakeVideo(Protocol):
    """Writes a video; see the fixture of this name."""

    def __call__(
        self, path: Path, frames: list[Image], rate_hz: float = 25.0, codec: str = "MJPG"
    ) -> Path: ...


@pytest.fixture(scope="session")
def make_session() -> MakeSession:
    """A session of made-up features; valence and arousal are simple functions of two of them.

    Keywords: ``held_out``, ``rated`` (True), ``valid`` (a mask, all but the first frame), ``ratings``,
    ``record`` (more of what :func:`~mien_client.sessions.session_record` takes).
    """

    def make(session_id: str, *, seconds: float = 4.0, seed: int = 0, **changes: Any) -> Session:
        generator = np.random.default_rng(seed)
        clock = clock_for(seconds)
        slow = np.cumsum(generator.normal(size=(len(clock), 40)), axis=0) / 5
        valid = changes.get("valid", np.arange(len(clock)) > 0)
        values = np.where(valid[:, None], slow, np.nan).astype(np.float32)
        state = np.where(valid, FaceState.SEEN, FaceState.NO_FACE).astype(np.uint8)
        features = Features(clock, values, valid, state, np.zeros(len(clock), np.int32))
        ratings = changes.get("ratings", np.tanh(slow[:, [6, 14]]).astype(np.float32))
        rated = changes.get("rated", True)
        record = session_record(
            session_id=session_id,
            features=features,
            rated=rated,
            held_out=changes.get("held_out", False),
            source=Path("film.avi"),
            source_sha256="0" * 64,
            **{
                "neutral": "running",
                "features_from": "mediapipe",
                "confined": True,
                **changes.get("record", {}),
            },
        )
        return Session(record, features, ratings if rated else None)

    return make


@pytest.fixture(scope="session")
def ca_pem() -> bytes:
    """A certificate that a site can be made with; nobody answers with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def site(tmp_path: Path, ca_pem: bytes) -> Site:
    """A site that holds nothing yet."""
    (tmp_path / "authority.crt").write_bytes(ca_pem)
    settings = SiteSettings(name="site-1", server="127.0.0.1:9", lag_s=0.0, device="cpu")
    return create_site(tmp_path / "site", settings, tmp_path / "authority.crt")


@pytest.fixture(scope="session")
def make_order() -> Callable[[RecordDict, str], Message]:
    """A message as it comes from the server, of run 42, with the id ``order-1``."""

    def make(content: RecordDict, message_type: str) -> Message:
        metadata = Metadata(42, "order-1", 1, 3, "", "", time.time(), 3600.0, message_type)
        return make_message(metadata=metadata, content=content)

    return make


@pytest.fixture(scope="session")
def astronaut() -> Image:
    """640×480 BGR of a face: NASA's public-domain portrait of Eileen Collins, out of scikit-image."""
    rgb: Image = data.astronaut()  # type: ignore[no-untyped-call]  # scikit-image has no types
    return np.array(cv2.resize(rgb[:384, :512], (640, 480))[..., ::-1], np.uint8)


@pytest.fixture(scope="session")
def make_video() -> MakeVideo:
    """Writes a video file; the name's ending chooses the container."""

    def make(path: Path, frames: list[Image], rate_hz: float = 25.0, codec: str = "MJPG") -> Path:
        height, width = frames[0].shape[:2]
        fourcc = cv2.VideoWriter.fourcc(*codec)
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, rate_hz, (width, height))
        assert writer.isOpened(), f"this OpenCV cannot write {codec} into {path.suffix}"
        for frame in frames:
            writer.write(frame)
        writer.release()
        return path

    return make


@pytest.fixture(scope="session")
def numbered_frames() -> Callable[[int], list[Image]]:
    """Small grey frames, each brighter than the one before, so that their order can be seen."""
    return lambda count: [np.full((48, 64, 3), 40 + 2 * number, np.uint8) for number in range(count)]


@pytest.fixture(scope="session")
def face_video(tmp_path_factory: pytest.TempPathFactory, astronaut: Image, make_video: MakeVideo) -> Path:
    """Three seconds of the portrait, gently shifted, at 25 Hz."""
    shifts = [(round(6 * np.sin(0.2 * number)), round(4 * np.cos(0.2 * number))) for number in range(76)]
    frames = [np.roll(astronaut, shift, axis=(1, 0)) for shift in shifts]
    return make_video(tmp_path_factory.mktemp("film") / "portrait.avi", frames)


def children_of(pid: int) -> list[int]:
    """The child processes of a running process, whichever of its threads started them.

    A thread may end while it is looked at.
    """
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or waits only for its parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def real_clips() -> list[Path]:
    """The real clips, where this machine has them."""
    return sorted(path for path in REAL_CLIPS.rglob("*") if path.suffix in {".mkv", ".gif"})
