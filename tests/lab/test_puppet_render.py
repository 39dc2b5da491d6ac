"""Each expression moves the landmark it should, as MediaPipe finds it in the rendered picture."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import pytest

from mien_client.face.process import FaceProcess
from mien_client.frames import Frame
from mien_lab.puppet_expressions import EXPRESSIONS, HEAD, flow
from mien_lab.puppet_face import Floats, Image, Stage, build_stage, read_photo
from mien_lab.puppet_landmarks import photo_landmarks
from mien_lab.puppet_render import FRAME_SIZE, Framing, Light, Puppet

REST: Final[Mapping[str, float]] = {"smile": -0.6, "lips_close": 0.6}


@pytest.fixture(scope="module")
def stage() -> Stage:
    photo = read_photo(None)
    return build_stage(photo, photo_landmarks(photo))


def _render(puppet: Puppet, changes: Mapping[str, float]) -> Image:
    weights = dict(REST)
    for name, change in changes.items():
        weights[name] = weights.get(name, 0.0) + change
    expressions = np.array([weights.get(name, 0.0) for name in EXPRESSIONS], np.float32)
    return puppet.render(expressions, np.array([weights.get(name, 0.0) for name in HEAD], np.float32))


def _found(pictures: list[Image]) -> list[Floats]:
    """Landmarks of every picture, each shown for three frames so that the tracker settles."""
    frames = [Frame(index * 0.04, picture) for index, picture in enumerate(np.repeat(pictures, 3, axis=0))]
    with FaceProcess(FRAME_SIZE[1], FRAME_SIZE[0], "landmarks") as face_process:
        seen = list(face_process.landmarks(frames))
    assert all(values is not None for values in seen)
    return [values for values in seen[2::3] if values is not None]


def _corner_lift(face: Floats) -> float:
    return float(face[[13, 14], 1].mean() - face[[61, 291], 1].mean())


def _lip_gap(face: Floats) -> float:
    return float(face[14, 1] - face[13, 1])


def _brow_height(face: Floats) -> float:
    return float(face[[33, 263], 1].mean() - face[[105, 334], 1].mean())


def _eye_opening(face: Floats) -> float:
    return float(face[[145, 374], 1].mean() - face[[159, 386], 1].mean())


def _nose_aside(face: Floats) -> float:
    return float(face[1, 0] - face[[33, 263], 0].mean())


def _nose_below_eyes(face: Floats) -> float:
    return float(face[1, 1] - face[[33, 263], 1].mean())


def _tilt(face: Floats) -> float:
    return float(face[263, 1] - face[33, 1])


MOVES: Final[tuple[tuple[str, float, Callable[[Floats], float], float], ...]] = (
    ("smile", 0.8, _corner_lift, 3.0),
    ("lip_corner_depress", 0.8, _corner_lift, -2.0),
    ("jaw_drop", 0.8, _lip_gap, 10.0),
    ("lips_close", -0.5, _lip_gap, 2.0),
    ("brow_raise", 0.9, _brow_height, 4.0),
    ("frown", 1.0, _brow_height, -0.5),
    ("lid_close", 1.0, _eye_opening, -3.0),
    ("lid_close", -0.5, _eye_opening, 0.7),
    ("yaw", 0.15, _nose_aside, 4.0),
    ("pitch", 0.12, _nose_below_eyes, 2.0),
    ("roll", 0.12, _tilt, 8.0),
)


def test_every_expression_and_turn_is_found_again_in_the_picture(stage: Stage) -> None:
    puppet = Puppet(stage, Framing(), Light())
    faces = _found([_render(puppet, {}), *(_render(puppet, {name: by}) for name, by, _, _ in MOVES)])
    for (name, by, measure, least), moved in zip(MOVES, faces[1:], strict=True):
        change = measure(moved) - measure(faces[0])
        assert change / least > 1.0, f"{name} by {by} changed {measure.__name__} by {change:.2f} px"


def test_framing_moves_the_face_as_it_says(stage: Stage) -> None:
    plain, moved = _found(
        [
            _render(Puppet(stage, Framing(), Light()), {}),
            _render(Puppet(stage, Framing(scale=0.85, offset_x=40.0, offset_y=10.0), Light()), {}),
        ]
    )
    middle = np.array([plain[[33, 263], :2].mean(0), moved[[33, 263], :2].mean(0)])
    assert middle[1, 0] - middle[0, 0] == pytest.approx(40.0, abs=3.0)
    width = [float(np.hypot(*(face[263, :2] - face[33, :2]))) for face in (plain, moved)]
    assert width[1] / width[0] == pytest.approx(0.85, abs=0.03)


def test_a_mirrored_camera_sees_the_mirrored_picture(stage: Stage) -> None:
    plain, mirrored = (
        _render(Puppet(stage, Framing(offset_x=20.0, mirrored=flip), Light()), {"yaw": 0.1})
        for flip in (False, True)
    )
    flipped = plain[:, ::-1].astype(int)
    # The face lies 20 pixels right of the middle in both, so the flipped one is moved back by 40.
    assert np.abs(flipped[:, :-40] - mirrored[:, 40:]).mean() < 1.0


def test_light_changes_brightness_only_by_its_table(stage: Stage) -> None:
    bright, dim = (_render(Puppet(stage, Framing(), Light(gain=gain)), {}) for gain in (1.0, 0.5))
    assert float(dim.mean()) == pytest.approx(float(bright.mean()) / 2, rel=0.03)


def test_a_flow_is_inverse_to_its_negative_and_never_folds() -> None:
    rows, columns = 40, 50
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    bump = np.exp(-((x - 25) ** 2 + (y - 20) ** 2) / 60)
    velocity = np.stack([6 * bump, -4 * bump], -1).astype(np.float32)
    forward = flow(velocity, 6)
    sources = x + forward[:, :, 0]
    assert np.diff(sources, axis=1).min() > 0
    assert float(forward[20, 25, 0]) < -3
    back = flow(-velocity, 6)
    there = np.array([25.0, 20.0]) + back[20, 25]
    column, row = (round(float(value)) for value in there)
    assert forward[row, column] == pytest.approx(-back[20, 25], abs=0.6)
