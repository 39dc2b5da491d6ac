"""OpenFace's and py-feat's CSV files as a source of features."""

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mien_client.feature_files import extractor_of, features_from_file, is_feature_file
from mien_client.features import Features
from mien_client.ingest import ingest
from mien_client.observations import FaceState
from mien_client.openface_csv import openface_csv
from mien_client.sessions import Session, read_session
from mien_client.site import Site
from mien_common.errors import FeatureFileError
from mien_common.schema import AU_CHANNELS, AU_V1, POSE_CHANNELS

OPENFACE_HEAD = ("frame", "face_id", "timestamp", "confidence", "success", "gaze_0_x", "pose_Tx")


def openface_file(path: Path, *sizes: Any, **columns: Any) -> Path:
    """As FeatureExtraction writes it: a blank before each name and number.

    ``sizes`` are rows (90) and frames a second (30); ``columns`` replace some, None leaves one out.
    """
    rows, rate_hz = _sizes(*sizes)
    frames = np.arange(rows)
    table: dict[str, Any] = {name: np.zeros(rows) for name in OPENFACE_HEAD}
    table |= {"frame": frames + 1, "timestamp": frames / rate_hz, "success": np.ones(rows)}
    table |= {"confidence": np.full(rows, 0.98)}
    table |= {name: 0.1 * (place + 1) * np.ones(rows) for place, name in enumerate(POSE_CHANNELS)}
    table |= {name: 0.2 * place + 0.01 * frames for place, name in enumerate(AU_CHANNELS)}
    table |= {f"{name[:-2]}_c": np.ones(rows) for name in (*AU_CHANNELS, "AU28_r")}
    table |= columns
    return written(path, table, ", ")


def _sizes(rows: int = 90, rate_hz: float = 30.0) -> tuple[int, float]:
    return rows, rate_hz


def pyfeat_file(path: Path, *sizes: Any, **columns: Any) -> Path:
    rows, rate_hz = _sizes(*sizes)
    frames = np.arange(rows)
    units = [1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26, 28, 43]
    table: dict[str, Any] = {"FaceRectX": np.full(rows, 10.0), "FaceRectY": np.full(rows, 10.0)}
    table |= {"FaceRectWidth": np.full(rows, 80.0), "FaceRectHeight": np.full(rows, 90.0)}
    table |= {"Pitch": np.full(rows, 5.0), "Roll": np.full(rows, -3.0), "Yaw": np.full(rows, 8.0)}
    table |= {f"AU{unit:02d}": np.linspace(0, unit / 50, rows) for unit in units}
    table |= {"input": ["film.mp4"] * rows, "frame": frames}
    seconds = (frames / rate_hz).astype(int)
    table |= {"approx_time": [f"{second // 60:02d}:{second % 60:02d}" for second in seconds]}
    table |= columns
    return written(path, table, ",")


def written(path: Path, table: Mapping[str, Any], separator: str) -> Path:
    kept = {name: column for name, column in table.items() if column is not None}
    lines = [separator.join(kept)]
    for row in zip(*kept.values(), strict=True):
        lines.append(separator.join("" if cell is None else str(cell) for cell in row))
    path.write_text("\n".join(lines) + "\n")
    return path


def read(path: Path, rate_hz: float | None = None) -> tuple[Features, list[str]]:
    notes: list[str] = []
    return features_from_file(path, rate_hz, notes.append)[0], notes


def channel(features: Features, name: str) -> NDArray[np.float32]:
    return features.values[:, AU_V1.channels.index(name)]


class TestOpenFace:
    def test_its_numbers_arrive(self, tmp_path: Path) -> None:
        features, notes = read(openface_file(tmp_path / "film.csv"))
        assert notes == []
        assert len(features.time_s) == 75, "2.97 s at 25 Hz"
        assert features.valid[1:].all()
        for place, name in enumerate(AU_CHANNELS):
            expected = np.minimum(0.2 * place + 0.01 * 30 * features.time_s, 5.0)
            assert channel(features, name) == pytest.approx(expected, abs=1e-4), name
        assert channel(features, "AU06_r_delta")[5:] == pytest.approx(0.3 / 25, abs=1e-4)
        flip = np.diag([1.0, -1.0, -1.0])
        turn = flip @ Rotation.from_euler("XYZ", [0.1, 0.2, 0.3]).as_matrix() @ flip
        ours = Rotation.from_euler("ZYX", [channel(features, f"pose_R{axis}")[9] for axis in "zyx"])
        assert ours.as_matrix() == pytest.approx(turn, abs=1e-5)

    @pytest.mark.parametrize(
        "missing",
        [
            {"success": [1] * 30 + [0] * 30 + [1] * 30},
            {"confidence": [0.98] * 30 + [0.69] * 30 + [0.7] * 30},
        ],
        ids=["success", "confidence"],
    )
    def test_numbers_without_a_face_are_not_taken(
        self, tmp_path: Path, missing: dict[str, list[float]]
    ) -> None:
        features, _ = read(openface_file(tmp_path / "film.csv", **missing))
        gap = (features.time_s > 1.0) & (features.time_s < 1.95)
        assert np.isnan(features.values[gap]).all()
        assert (features.state[gap] == FaceState.NO_FACE).all()
        assert features.valid[2:24].all()
        assert features.valid[52:].all()

    def test_the_face_seen_longest_is_followed(self, tmp_path: Path) -> None:
        """As FaceLandmarkVidMulti writes it: a row per face, in the order it found them."""
        time_s = np.repeat(np.arange(60) / 30, 2)
        own = np.tile([False, True], 60)
        units = {name: np.where(own, 1.0, 4.0) for name in AU_CHANNELS}
        success = np.where(own & (np.arange(120) // 2 == 30), 0, 1)
        success[:20:2] = 0
        path = openface_file(
            tmp_path / "two.csv", 120, timestamp=time_s, face_id=own.astype(int), success=success, **units
        )
        features, notes = read(path)
        assert notes == [f"{path} holds 2 faces; face_id 1, seen longest, is taken."]
        assert channel(features, "AU12_r")[np.isfinite(channel(features, "AU12_r"))] == pytest.approx(1.0)
        assert np.isnan(channel(features, "AU12_r")[25])
        assert features.valid.sum() > 40

    def test_without_head_pose_the_action_units_still_count(self, tmp_path: Path, site: Site) -> None:
        path = openface_file(tmp_path / "aus.csv", **dict.fromkeys(POSE_CHANNELS))
        features, notes = read(path)
        assert notes == [f"{path} has no head pose: missing in every frame of the session."]
        assert features.valid[1:].all()
        assert np.isnan(channel(features, "pose_Ry")).all()
        done = ingest(site, path, None, held_out=False, csv=False, progress=lambda *_: None, kind="features")
        session = read_session(done.folder)
        assert (session.record.features_from, session.record.neutral) == ("openface", "source")
        assert session.record.valid_frames == features.valid.sum()

    def test_the_rate_replaces_its_times(self, tmp_path: Path) -> None:
        features, _ = read(openface_file(tmp_path / "f.csv", timestamp=np.arange(90) / 1000), rate_hz=30.0)
        assert len(features.time_s) == 75

    def test_what_windows_writes_for_no_number(self, tmp_path: Path) -> None:
        path = openface_file(tmp_path / "film.csv", 60)
        path.write_text(path.read_text().replace(", 0.48,", ", -nan(ind),", 1).replace("\n", "\r\n"))
        assert 40 < read(path)[0].valid.sum() < 49

    def test_our_own_file_comes_back(self, tmp_path: Path, make_session: Callable[..., Session]) -> None:
        seen = np.arange(201) % 50 > 9
        features = make_session("s", seconds=8.0, valid=seen).features
        static = features.values[:, :20]
        static[:, :17] = np.clip(static[:, :17], 0, 5)
        static[:, 17:] = np.clip(static[:, 17:], -0.7, 0.7)
        (tmp_path / "openface.csv").write_bytes(openface_csv(features))
        back, notes = read(tmp_path / "openface.csv")
        assert notes == []
        assert np.array_equal(back.state, features.state)
        assert back.values[:, :20] == pytest.approx(static, abs=1e-4, nan_ok=True)
        assert back.values[seen, :17] == pytest.approx(static[seen, :17], abs=5.1e-5)

    def test_pandas_style_readers_take_our_file(self, make_session: Callable[..., Session]) -> None:
        features = make_session("s").features
        rows = list(csv.DictReader(io.StringIO(openface_csv(features).decode()), skipinitialspace=True))
        assert len(rows) == len(features.time_s)
        assert [float(row["AU12_r"]) for row in rows] == pytest.approx(
            channel(features, "AU12_r").tolist(), abs=5.1e-5, nan_ok=True
        )


class TestPyFeat:
    def test_its_probabilities_arrive_as_intensities(self, tmp_path: Path) -> None:
        path = pyfeat_file(tmp_path / "fex.csv")
        features, notes = read(path)
        assert notes == [f"{path} gives its times in whole seconds only; they fit 30 frames a second."]
        assert features.valid[1:].all()
        assert len(features.time_s) == 75
        assert channel(features, "AU12_r")[-1] == pytest.approx(5 * 12 / 50 * (2.96 * 30 / 89), abs=1e-3)
        assert channel(features, "AU45_r")[-1] == pytest.approx(5 * 43 / 50 * (2.96 * 30 / 89), abs=1e-3)
        # 5° up, 8° to the own right, tilted 3° against the clock as the camera sees it.
        pose = [float(channel(features, name)[9]) for name in POSE_CHANNELS]
        assert pose == pytest.approx(np.radians([-5.0, -8.0, 3.0]), abs=0.02)

    @pytest.mark.parametrize("rate_hz", [24.0, 25.0, 30.0, 60.0, 12.5, 29.97, 23.976])
    def test_its_rate_is_found_from_whole_seconds(self, tmp_path: Path, rate_hz: float) -> None:
        features, _ = read(pyfeat_file(tmp_path / "fex.csv", round(70 * rate_hz), rate_hz))
        assert features.time_s[-1] == pytest.approx(70.0, abs=0.15)

    def test_without_times_the_rate_must_be_given(self, tmp_path: Path) -> None:
        path = pyfeat_file(tmp_path / "fex.csv", approx_time=None)
        with pytest.raises(FeatureFileError, match=r"how many frames a second.*Give --rate-hz"):
            read(path)
        assert len(read(path, rate_hz=30.0)[0].time_s) == 75

    def test_radians_mean_another_thing_in_each_version_and_are_left_out(self, tmp_path: Path) -> None:
        angles = {name: np.full(90, 0.2) for name in ("Pitch", "Roll", "Yaw")}
        features, notes = read(pyfeat_file(tmp_path / "fex.csv", **angles))
        assert any("head angles in radians" in note for note in notes)
        assert any("no head pose" in note for note in notes)
        assert np.isnan(channel(features, "pose_Rx")).all()
        assert features.valid[1:].all()

    def test_a_row_without_numbers_is_a_frame_without_a_face(self, tmp_path: Path) -> None:
        path = pyfeat_file(tmp_path / "fex.csv")
        lines = path.read_text().splitlines()
        for row in range(31, 61):
            cells = lines[row].split(",")
            lines[row] = ",".join(["nan"] * (len(cells) - 3) + cells[-3:])
        path.write_text("\n".join(lines))
        features, _ = read(path)
        gap = (features.time_s > 1.0) & (features.time_s < 1.95)
        assert (features.state[gap] == FaceState.NO_FACE).all()
        assert np.isnan(features.values[gap]).all()

    def test_one_person_is_followed(self, tmp_path: Path) -> None:
        frames = np.repeat(np.arange(60), 2)
        own = np.tile([True, False], 60)
        units = {
            f"AU{unit:02d}": np.where(own, 0.2, 0.8) for unit in (1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 20, 25)
        }
        columns = {
            "frame": frames, "approx_time": [f"00:0{frame // 30}" for frame in frames],
            "FaceRectWidth": np.where(own, 90.0, 70.0), **units,
        }  # fmt: skip
        path = pyfeat_file(tmp_path / "by-size.csv", 120, **columns)
        features, notes = read(path)
        assert any("the largest of each frame is taken" in note for note in notes)
        assert channel(features, "AU12_r") == pytest.approx(1.0)
        names = np.where(own, "Person_1", "Person_0").astype(object)
        names[:40:2] = "Person_2"
        path = pyfeat_file(tmp_path / "by-name.csv", 120, Identity=names, **columns)
        features, notes = read(path)
        assert any("holds 3 faces; Person_0, seen longest" in note for note in notes)
        assert channel(features, "AU12_r") == pytest.approx(4.0)

    def test_action_units_a_small_model_does_not_have(self, tmp_path: Path) -> None:
        absent = dict.fromkeys(f"AU{unit:02d}" for unit in (5, 9, 11, 20, 25, 26, 28, 43))
        path = pyfeat_file(tmp_path / "jaanet.csv", **absent)
        features, notes = read(path)
        assert (
            f"{path} has no AU05, AU09, AU20, AU25, AU26, AU45: missing in every frame of the session."
            in notes
        )
        assert features.valid[1:].all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no CSV file of OpenFace 2"),
        ("time,valence,arousal\n0,0,0\n", "no CSV file of OpenFace 2"),
        ("success, AU12_r\n", "holds no frame"),
        ("success, AU12_r\n1, 1\n", "has no time stamps. Give --rate-hz"),
        ("timestamp, success, AU12_r\n0.0, 1, happy\n", "is damaged"),
        ("timestamp, success, AU12_r\n0.0, 1\n", "is damaged"),
        ("timestamp, success, AU12_r\n0.0, 1, 1.0\n0.04, 1, 1.0\n", "holds 1 of the 17 action units"),
        ("timestamp, success, success, AU12_r\n0.0, 1, 1, 1\n", "column success more than once"),
        ("timestamp, success, AU12_r\nnan, 1, 1.0\n", "rows without a time"),
        ("frame,AU01,AU12\n", "holds no frame"),
        ("AU01,AU12\n0.1,0.1\n", "does not number its frames"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "does not begin with the header"),
    ],
)
def test_a_file_that_will_not_do_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "film.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FeatureFileError) as raised:
        read(path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("times", [[-1.0, 0.0], [0.0, 1e7]], ids=["before the start", "after weeks"])
def test_absurd_times_are_refused(tmp_path: Path, times: list[float]) -> None:
    path = openface_file(tmp_path / "film.csv", 2, timestamp=times)
    with pytest.raises(FeatureFileError, match="from 0 to a day works"):
        read(path)


def test_only_such_files_are_recognised(tmp_path: Path) -> None:
    assert is_feature_file(openface_file(tmp_path / "a.csv", 2))
    assert is_feature_file(pyfeat_file(tmp_path / "b.csv", 2))
    (tmp_path / "c.csv").write_text("time,valence,arousal\n")
    assert not is_feature_file(tmp_path / "c.csv")
    assert not is_feature_file(tmp_path)
    assert not is_feature_file(tmp_path / "absent.csv")
    assert extractor_of(["frame", " success", " AU12_r"]) == "openface"
