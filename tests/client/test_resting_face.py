"""What counts as a resting face, and what a person is told when it is none."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import iqr

from mien_client.calibration import UNITS
from mien_client.commands.calibrate import calibrate
from mien_client.face.action_units import EXPERIMENTAL
from mien_client.observations import FaceState, Observation, nothing_seen
from mien_client.participants import read_calibration
from mien_client.resting_face import RestingFace, measure_rest
from mien_client.site import Site
from mien_common.errors import SettingsError, VideoError
from mien_common.schema import AU_CHANNELS, STATIC_CHANNELS

REST = np.linspace(-1, 2, UNITS)
SMILE, BLINK = AU_CHANNELS.index("AU12_r"), AU_CHANNELS.index("AU45_r")


def resting(
    number: int,
    units: Mapping[str, float] | None = None,
    *,
    yaw: float = 0.0,
    state: FaceState = FaceState.SEEN,
    who: int = 0,
) -> Observation:
    """A face at 25 frames a second that jitters a little; ``units`` are added to its rest."""
    values = np.zeros(len(STATIC_CHANNELS), np.float32)
    values[:UNITS] = REST + np.random.default_rng(number).normal(0, 0.1, UNITS)
    values[UNITS + 1] = yaw
    for name, more in (units or {}).items():
        values[AU_CHANNELS.index(name)] += more
    return Observation(number / 25, state, values, who)


def measure(observations: list[Observation] | Iterator[Observation], wanted_s: float = 10.0) -> RestingFace:
    return measure_rest(observations, wanted_s, lambda _: None)


def test_a_calm_face_is_its_median_and_its_spread() -> None:
    observations = [resting(number) for number in range(300)]
    found = measure(observations)
    used = np.stack([seen.values[:UNITS] for seen in observations[:251]])
    assert found.frames == 251
    assert found.seconds == pytest.approx(10.0)
    assert found.neutral == pytest.approx(np.median(used, axis=0), abs=1e-6)
    assert found.spread == pytest.approx(iqr(used, axis=0, scale="normal"), abs=1e-4)
    kept = found.calibration("p-07", "camera").neutral().units
    assert kept == pytest.approx(found.neutral, abs=1e-4)


def test_blinks_and_a_passing_smile_do_not_move_the_neutral() -> None:
    calm = measure([resting(number) for number in range(251)])
    lively = measure(
        [
            resting(number, {"AU45_r": 4.0 * (number % 60 < 6), "AU12_r": 3.0 * (40 < number < 80)})
            for number in range(251)
        ]
    )
    assert lively.neutral == pytest.approx(calm.neutral, abs=0.06)


def test_no_more_is_taken_than_is_needed() -> None:
    """A camera is not read on, and a long film not decoded, once there is enough."""
    taken = []

    def camera() -> Iterator[Observation]:
        for number in range(10**9):
            taken.append(number)
            yield resting(number)

    measure(camera())
    assert len(taken) == 251
    taken.clear()

    def empty_room() -> Iterator[Observation]:
        for number in range(10**9):
            taken.append(number)
            yield nothing_seen(number / 25, FaceState.NO_FACE)

    with pytest.raises(VideoError):
        measure(empty_room())
    assert len(taken) == 751


def test_a_frame_that_misses_a_unit_is_left_out() -> None:
    partly = [resting(number) for number in range(300)]
    for observation in partly[10:20]:
        observation.values[4] = np.nan
    found = measure(partly)
    assert found.frames == 251
    assert np.isfinite(found.neutral).all()


def test_who_sits_down_late_is_waited_for() -> None:
    late = [nothing_seen(number / 25, FaceState.NO_FACE) for number in range(375)]
    assert measure([*late, *(resting(number) for number in range(375, 800))]).frames == 250


@pytest.mark.parametrize(
    ("observations", "message"),
    [
        ([], r"for 0\.0 of 0\.0 s, and 5 s are needed\. Show it for longer"),
        ([resting(n) for n in range(120)], r"for 4\.8 of 4\.8 s, and 5 s are needed\. Show it for longer"),
        (
            [resting(n) if n < 50 else nothing_seen(n / 25, FaceState.NO_FACE) for n in range(200)],
            r"for 2\.0 of 8\.0 s.* No face was found: bring it into the middle",
        ),
        ([resting(n, yaw=0.5) for n in range(200)], "turned aside, up or down: look into the camera"),
        ([resting(n, state=FaceState.PROFILE) for n in range(200)], "turned aside: look into the camera"),
        ([resting(n, state=FaceState.DARK) for n in range(200)], "too dark: turn on a light"),
        ([resting(n, state=FaceState.SMALL) for n in range(200)], "too small: come nearer"),
        ([resting(n, state=FaceState.COVERED) for n in range(200)], "partly covered: take hands"),
        ([nothing_seen(n / 25, FaceState.NO_FRAME) for n in range(200)], "gave no picture"),
        ([resting(n, who=n // 100) for n in range(200)], r"another face was taken up after 4\.0 s"),
        (
            [resting(n, {"AU12_r": 3.0 * (n % 50 < 25)}) for n in range(251)],
            r"no resting face: AU12 varied by [12]\.\d on the scale of 0 to 5",
        ),
        (
            [resting(n, {"AU12_r": 3.0 * (n % 50 < 25), "AU26_r": 4.0 * (n % 50 < 15)}) for n in range(251)],
            r"AU12 varied by .*, AU26 varied by .* without speaking",
        ),
    ],
)
def test_what_is_no_resting_face_is_refused_with_advice(
    observations: list[Observation], message: str
) -> None:
    with pytest.raises(VideoError, match=message) as raised:
        measure(observations)
    assert "calibrate again" in str(raised.value)


@pytest.mark.skipif(not EXPERIMENTAL, reason="no unit is experimental")
def test_an_experimental_unit_may_do_what_it_likes() -> None:
    found = measure([resting(n, {EXPERIMENTAL[0]: 3.0 * (n % 50 < 25)}) for n in range(251)])
    assert found.spread[AU_CHANNELS.index(EXPERIMENTAL[0])] > 1


def test_a_frozen_smile_is_pointed_out_but_not_refused() -> None:
    """Nobody's face is forbidden: for somebody it is rest."""
    assert measure([resting(number) for number in range(251)]).unusual() == []
    assert measure([resting(number, {"AU12_r": 4.0}) for number in range(251)]).unusual() == ["AU12"]


@pytest.fixture(scope="module")
def still_face(
    tmp_path_factory: pytest.TempPathFactory, astronaut: NDArray[np.uint8], make_video: Callable[..., Path]
) -> str:
    """Six seconds of the portrait at 12 frames a second, hardly moving."""
    frames = [np.roll(astronaut, number % 3, axis=1) for number in range(73)]
    return str(make_video(tmp_path_factory.mktemp("rest") / "rest.avi", frames, rate_hz=12.0))


def test_the_command_measures_keeps_and_says_so(
    still_face: str, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    calibrate(still_face, "p-07", site.folder)
    first = capsys.readouterr().out
    assert first.startswith("p-07's neutral face: 73 frames in 6.0 s; furthest from an average face: AU")
    assert first.rstrip().endswith("calibrations/p-07.json.")
    kept = read_calibration(site, "p-07")
    assert kept is not None
    assert (kept.frames, kept.source, kept.participant) == (73, "recording", "p-07")
    assert max(rest.spread for rest in kept.units.values()) < 1.0
    calibrate(still_face, "p-07", site.folder)
    assert "in place of the earlier one" in capsys.readouterr().out


def test_a_name_that_will_not_do_is_refused_before_the_camera_is_opened(site: Site) -> None:
    with pytest.raises(SettingsError, match="will not do for a participant"):
        calibrate("/dev/video99", "Ann Lee", site.folder)


def test_a_face_that_cannot_be_measured_leaves_no_calibration(face_video: object, site: Site) -> None:
    with pytest.raises(VideoError, match=r"for 3\.0 of 3\.0 s"):
        calibrate(str(face_video), "p-07", site.folder)
    assert not site.calibrations.exists()
