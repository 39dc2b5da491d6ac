"""What lies before a face, judged on pictures whose landmarks are known: no landmarker takes part."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien_client.face.coverage import LIMITS, PARTS, Coverage
from mien_client.face.landmarks import Face
from mien_lab.puppet_face import build_stage, read_photo
from mien_lab.puppet_landmarks import photo_landmarks

Image = NDArray[np.uint8]
STEP_MS = 100


@pytest.fixture(scope="module")
def portrait() -> tuple[Image, Face]:
    """A frontal face of 220 pixels, RGB, with its landmarks."""
    photo = read_photo(None)
    stage = build_stage(photo, photo_landmarks(photo))
    picture = np.asarray(cv2.cvtColor(stage.skin, cv2.COLOR_BGR2RGB), np.uint8)
    shown = stage.openings[:, :, None] > 127
    picture = np.where(shown, stage.beneath[:, :, ::-1], picture)
    return picture, Face(stage.landmarks, {}, np.eye(3, dtype=np.float32))


def covered_by_hand(picture: Image, face: Face, landmark: int, size_px: int = 62) -> Image:
    """A skin-coloured patch with dark seams over a landmark."""
    x, y = (round(float(value)) for value in face.points[landmark, :2])
    skin = np.median(picture[y - 5 : y + 5, x - 80 : x - 70].reshape(-1, 3), axis=0)
    covered = picture.copy()
    covered[y - size_px : y + size_px, x - size_px : x + size_px] = skin
    for seam in range(-size_px, size_px, 30):
        covered[y + seam : y + seam + 5, x - size_px : x + size_px] = skin * 0.5
    return covered


def names(covered: NDArray[np.bool_]) -> set[str]:
    return {part for part, hidden in zip(PARTS, covered, strict=True) if hidden}


def looked(coverage: Coverage, picture: Image, face: Face, looks: int, since_ms: int = 0) -> set[str]:
    """What is covered after some looks at one picture."""
    for number in range(looks):
        answer = coverage.covered(picture, face, since_ms + number * STEP_MS)
    return names(answer)


@pytest.mark.parametrize(
    ("landmark", "covered", "free"),
    [
        (14, {"mouth"}, {"brow_left", "brow_right", "eye_left", "eye_right"}),
        (159, {"eye_left"}, {"mouth", "chin"}),
    ],
)
def test_a_patch_covers_the_part_it_lies_on(
    landmark: int, covered: set[str], free: set[str], portrait: tuple[Image, Face]
) -> None:
    picture, face = portrait
    coverage = Coverage()
    assert looked(coverage, picture, face, 10) == set()
    found = looked(coverage, covered_by_hand(picture, face, landmark), face, 4, 1000)
    assert covered <= found
    assert not free & found
    assert looked(coverage, picture, face, 4, 1400) == set()


def test_one_look_alone_covers_nothing(portrait: tuple[Image, Face]) -> None:
    picture, face = portrait
    coverage = Coverage()
    looked(coverage, picture, face, 10)
    assert looked(coverage, covered_by_hand(picture, face, 14), face, 1, 1000) == set()
    assert looked(coverage, picture, face, 3, 1100) == set()


def test_more_light_and_light_from_the_side_cover_nothing(portrait: tuple[Image, Face]) -> None:
    picture, face = portrait
    coverage = Coverage()
    looked(coverage, picture, face, 10)
    slope = np.linspace(0.4, 1.2, picture.shape[1], dtype=np.float32)[None, :, None]
    dim = np.asarray(cv2.convertScaleAbs(picture, alpha=0.5), np.uint8)
    assert looked(coverage, dim, face, 3, 1000) == set()
    assert looked(coverage, (picture * slope).clip(0, 255).astype(np.uint8), face, 3, 1300) == set()


def test_a_cover_that_stays_is_taken_for_the_face_after_half_a_minute(portrait: tuple[Image, Face]) -> None:
    picture, face = portrait
    coverage = Coverage()
    looked(coverage, picture, face, 10)
    hand = covered_by_hand(picture, face, 14)
    almost = round(LIMITS.forget_s * 1000 / STEP_MS) - 2
    assert "mouth" in looked(coverage, hand, face, almost, 1000)
    assert looked(coverage, hand, face, 10, 1000 + almost * STEP_MS) == set()


def test_another_face_is_learned_anew(portrait: tuple[Image, Face]) -> None:
    picture, face = portrait
    coverage = Coverage()
    looked(coverage, picture, face, 10)
    coverage.start_over()
    assert looked(coverage, covered_by_hand(picture, face, 14), face, 5, 1000) == set()


def test_a_side_that_is_turned_away_is_not_judged(portrait: tuple[Image, Face]) -> None:
    picture, face = portrait
    yaw = np.radians(32.0)
    rotation = np.array(
        [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]], np.float32
    )
    turned = replace(face, rotation=rotation)
    coverage = Coverage()
    looked(coverage, picture, turned, 10)
    assert "eye_right" not in looked(coverage, covered_by_hand(picture, face, 386, 40), turned, 4, 1000)
    assert "eye_left" in looked(coverage, covered_by_hand(picture, face, 159, 40), turned, 4, 1400)


def test_a_mesh_squeezed_onto_half_the_face_covers_all_of_it(portrait: tuple[Image, Face]) -> None:
    """Bones don't bend: eyes that come nearer to the nose are not on the eyes any more."""
    picture, face = portrait
    coverage = Coverage()
    assert looked(coverage, picture, face, 12) == set()
    middle = face.points.mean(axis=0)
    squeezed = replace(face, points=(face.points - middle) * np.array([0.8, 1.0, 1.0], np.float32) + middle)
    assert looked(coverage, picture, squeezed, 4, 1200) == set(PARTS)
    assert looked(coverage, picture, face, 6, 1600) == set()


def test_what_lies_beyond_the_frame_is_covered(portrait: tuple[Image, Face]) -> None:
    picture, face = portrait
    coverage = Coverage()
    looked(coverage, picture, face, 10)
    nose_px = int(face.points[2, 1])
    found = looked(coverage, np.ascontiguousarray(picture[:nose_px]), face, 1, 1000)
    assert {"mouth", "chin"} <= found
    assert not {"brow_left", "brow_right"} & found


def test_far_faces_and_near_ones_are_judged_alike(portrait: tuple[Image, Face]) -> None:
    picture, face = portrait
    for scale in (0.2, 3.0):
        size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
        scaled = replace(face, points=face.points * np.float32(scale))
        plain, hand = (
            np.asarray(cv2.resize(one, size, interpolation=cv2.INTER_AREA), np.uint8)
            for one in (picture, covered_by_hand(picture, face, 14))
        )
        coverage = Coverage()
        assert looked(coverage, plain, scaled, 10) == set()
        assert "mouth" in looked(coverage, hand, scaled, 4, 1000)
