"""A published model on a video: a CSV file and a plot, and nothing of anybody's overwritten."""

import csv
import hashlib
import math
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien_client.plots import plot_prediction
from mien_client.predict import predict_video
from mien_client.sessions import Session, write_session
from mien_client.site import Site
from mien_common.architecture import Architecture
from mien_common.errors import ModelError, RatingsError, SessionError, StorageError, VideoError
from mien_common.network import build
from mien_common.published import ModelCard, publish
from mien_common.schema import AU_V1
from mien_common.weights import weights_of

Make = Callable[..., Session]

SMALL = Architecture(hidden_units=4, layers=1)
BOTH_WAYS = Architecture(kind="lstm", hidden_units=4, layers=1, bidirectional=True, residual=True)
RATINGS = "time,valence,arousal\n0,0.1,0.2\n1.5,0.3,0.4\n3,-0.5,0.5\n"


def silent(done: int, total: int) -> None:
    """A progress that nobody watches."""


def published(folder: Path, schema: str = AU_V1.name, architecture: Architecture = SMALL) -> Path:
    card = ModelCard(
        schema_name=schema,
        channels=AU_V1.channels,
        rate_hz=AU_V1.rate_hz,
        architecture=architecture,
        run="17",
        round=3,
        created="2026-11-23T08:00:00+00:00",
        sites=(),
        ccc={},
        weights_bytes=0,
        versions={},
        sha256="0" * 64,
    )
    return publish(folder, weights_of(build(architecture, 1)), card)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return published(tmp_path / "model")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def png_size(content: bytes) -> tuple[int, int]:
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


@pytest.mark.parametrize("name", ["", "model.safetensors"])
def test_writes_a_row_per_frame_and_a_picture(
    model: Path, face_video: Path, tmp_path: Path, name: str
) -> None:
    done = predict_video(face_video, model / name, None, None, tmp_path / "deep" / "out", silent)
    assert sorted(path.name for path in (tmp_path / "deep" / "out").iterdir()) == sorted(
        [done.csv.name, done.plot.name]
    )
    table = rows(done.csv)
    assert len(table) == done.frames == 76
    assert list(table[0]) == ["time", "valid", "valence", "arousal"]
    assert [float(row["time"]) for row in table] == pytest.approx(np.arange(76) / 25)
    assert table[0] == {"time": "0.00", "valid": "0", "valence": "", "arousal": ""}
    assert sum(int(row["valid"]) for row in table) == done.valid_frames == 75
    assert all(-1 <= float(row[name]) <= 1 for row in table[1:] for name in ("valence", "arousal"))
    assert len({row["valence"] for row in table[1:]}) > 10, "the prediction stands still"
    assert min(png_size(done.plot.read_bytes())) > 300
    assert (done.card.run, done.card.round, done.scaled_by) == ("17", 3, "video")


def test_a_sites_statistics_scale_the_features_as_in_training(
    model: Path, face_video: Path, tmp_path: Path, site: Site, make_session: Make
) -> None:
    write_session(site.sessions, make_session("s"))
    by_site = predict_video(face_video, model, site, None, tmp_path / "site-out", silent)
    by_video = predict_video(face_video, model, None, None, tmp_path / "video-out", silent)
    assert (by_site.scaled_by, by_video.scaled_by) == ("site", "video")
    assert by_site.csv.read_text() != by_video.csv.read_text()


def test_ratings_beside_the_video_are_never_overwritten(
    model: Path, face_video: Path, tmp_path: Path
) -> None:
    """Ratings lie beside their video under its name, and people work in that folder."""
    film = tmp_path / "portrait.avi"
    shutil.copy(face_video, film)
    kept = {film: hashlib.sha256(film.read_bytes()).hexdigest()}
    for name in ("portrait.csv", "portrait.png"):
        (tmp_path / name).write_text(RATINGS)
        kept[tmp_path / name] = hashlib.sha256(RATINGS.encode()).hexdigest()
    done = predict_video(film, model, None, tmp_path / "portrait.csv", tmp_path, silent)
    assert done.csv.exists()
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in kept} == kept


def test_a_model_of_another_schema_is_refused_before_the_video_is_read(
    tmp_path: Path, face_video: Path
) -> None:
    other = published(tmp_path / "other", schema="au-v2")
    with pytest.raises(ModelError, match="trained on the schema 'au-v2', this agent makes 'au-v1'"):
        predict_video(face_video, other, None, None, tmp_path / "out", lambda *_: pytest.fail("analysed"))
    assert not (tmp_path / "out").exists()


def test_bad_input_leaves_no_half_prediction(
    model: Path, face_video: Path, tmp_path: Path, site: Site
) -> None:
    out = tmp_path / "out"
    (tmp_path / "far.csv").write_text("time,valence,arousal\n100,0,0\n101,0,0\n")
    with pytest.raises(RatingsError, match="does not overlap"):
        predict_video(face_video, model, None, tmp_path / "far.csv", out, silent)
    with pytest.raises(VideoError, match="there is no file"):
        predict_video(tmp_path / "absent.avi", model, None, None, out, silent)
    with pytest.raises(SessionError, match="no rated session"):
        predict_video(face_video, model, site, None, out, silent)
    assert list(out.iterdir()) == []


def test_an_output_folder_that_cannot_be_is_said_so(
    model: Path, face_video: Path, tmp_path: Path, small_disk: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        predict_video(face_video, model, None, None, tmp_path / "file", silent)
    (small_disk / "filling").write_bytes(bytes(124 * 1024))
    with pytest.raises(StorageError, match="No space left on device"):
        predict_video(face_video, model, None, None, small_disk, silent)
    assert not [path for path in small_disk.iterdir() if path.suffix == ".png"]


@pytest.mark.parametrize(
    "name", [b"$x_{$.avi", b"100 % \\frac.avi", "日本語 😀.avi".encode(), b"caf\xe9.avi"], ids=repr
)
def test_any_file_name_can_stand_over_the_picture(name: bytes) -> None:
    prediction = np.zeros((50, 2), np.float32)
    picture = plot_prediction(np.arange(50) / 25, prediction, None, os.fsdecode(name))
    assert min(png_size(picture)) > 300


@pytest.mark.parametrize("frames", [1, 2, 50])
@pytest.mark.parametrize("rated", [True, False])
def test_pictures_of_any_length_and_of_missing_faces(frames: int, rated: bool) -> None:
    prediction = np.full((frames, 2), math.nan, np.float32)
    prediction[: frames // 2] = 0.3
    ratings = np.full((frames, 2), math.nan, np.float32) if rated else None
    assert min(png_size(plot_prediction(np.arange(frames) / 25, prediction, ratings, "film"))) > 300


def test_ratings_and_gaps_are_drawn() -> None:
    time_s = np.arange(100) / 25
    prediction = np.tile(np.sin(time_s)[:, None], 2).astype(np.float32)
    plain = plot_prediction(time_s, prediction, None, "film")
    rated = plot_prediction(time_s, prediction, prediction * 0.5, "film")
    prediction[40:60] = np.nan
    with_gap = plot_prediction(time_s, prediction, None, "film")
    assert len({plain, rated, with_gap}) == 3


def test_a_model_that_reads_both_ways_predicts_every_frame(face_video: Path, tmp_path: Path) -> None:
    model = published(tmp_path / "model", architecture=BOTH_WAYS)
    done = predict_video(face_video, model, None, None, tmp_path / "out", silent)
    table = rows(done.csv)
    assert sum(int(row["valid"]) for row in table) == done.valid_frames == 75
    assert len({row["valence"] for row in table[1:]}) > 10, "the prediction stands still"


def test_a_model_of_windows_is_refused_before_the_video_is_read(face_video: Path, tmp_path: Path) -> None:
    model = published(tmp_path / "model", architecture=SMALL.model_copy(update={"predicts": "window"}))
    with pytest.raises(ModelError, match=r"run 17, round 3: .*gives one pair per window.*`mien server run`"):
        predict_video(face_video, model, None, None, tmp_path / "out", lambda *_: pytest.fail("analysed"))
    assert not (tmp_path / "out").exists()
