"""What a site keeps of a participant: readable by us only, never half, never somebody else's."""

import json
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien_client.calibration import KnownNeutral, RunningNeutral
from mien_client.participants import (
    Calibration,
    Rest,
    calibration_file,
    neutral_for,
    read_calibration,
    write_calibration,
)
from mien_client.site import Site, SiteSettings
from mien_common.errors import InputError, SettingsError, StorageError
from mien_common.schema import AU_CHANNELS


def calibration(participant: str = "p-07", **changes: Any) -> Calibration:
    fields: dict[str, Any] = {
        "participant": participant,
        "created": "2026-11-23T09:00:00+00:00",
        "source": "camera",
        "seconds": 10.0,
        "frames": 251,
        "units": {name: Rest(neutral=number / 10, spread=0.1) for number, name in enumerate(AU_CHANNELS)},
        "versions": {"mien": "0.1.0"},
    }
    return Calibration(**(fields | changes))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_kept_comes_back_and_nobody_else_may_read_it(site: Site) -> None:
    path = write_calibration(site, calibration())
    assert read_calibration(site, "p-07") == calibration()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert calibration().neutral().units == pytest.approx(np.arange(17) / 10)


def test_a_new_calibration_takes_the_place_of_the_old_one(site: Site) -> None:
    write_calibration(site, calibration())
    write_calibration(site, calibration(frames=99))
    found = read_calibration(site, "p-07")
    assert found is not None
    assert found.frames == 99
    assert [path.name for path in site.calibrations.iterdir()] == ["p-07.json"]


def test_neutral_for_says_whose_face_it_takes(site: Site) -> None:
    for place, name, words in (
        (None, None, "nobody said whose face it is"),
        (site, None, "nobody said whose face it is"),
        (None, "p-07", "p-07 has no calibration here"),
        (site, "p-07", "`mien agent calibrate SOURCE --participant p-07` makes one"),
    ):
        neutral, said = neutral_for(place, name)
        assert isinstance(neutral, RunningNeutral)
        assert said.startswith("neutral face: learnt from the first minute")
        assert words in said
    write_calibration(site, calibration())
    neutral, said = neutral_for(site, "p-07")
    assert isinstance(neutral, KnownNeutral)
    assert neutral.kind == "calibration"
    assert said == "neutral face: p-07's, measured 2026-11-23"
    assert neutral_for(site, None)[0] is not neutral_for(site, None)[0], (
        "a running neutral serves one recording"
    )


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../keys/site", "a/b", "Ann Lee", "-x", ".x", "é", "p" * 65, "p\n", "p\0", "p-07.json/"],
)
def test_names_that_could_be_paths_or_people_are_refused(site: Site, name: str) -> None:
    for call in (calibration_file, read_calibration, neutral_for):
        with pytest.raises(SettingsError, match="will not do for a participant"):
            call(site, name)
    with pytest.raises(ValueError, match="participant"):
        calibration(name)


def rests(names: Iterable[str], neutral: object, spread: float = 0.1) -> dict[str, dict[str, object]]:
    return {name: {"neutral": neutral, "spread": spread} for name in names}


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda p: p.write_text(""),
    "cut": lambda p: os.truncate(p, 200),
    "no text": lambda p: p.write_bytes(b"\xff\xfe\x00"),
    "a list": lambda p: p.write_text("[]"),
    "unknown field": lambda p: edit(p, picture="here"),
    "another layout": lambda p: edit(p, layout=2),
    "a unit short": lambda p: edit(p, units=rests(AU_CHANNELS[1:], 0.0)),
    "a unit too many": lambda p: edit(p, units=rests([*AU_CHANNELS, "AU99_r"], 0.0)),
    "units in words": lambda p: edit(p, units=rests(AU_CHANNELS, "1")),
    "units of NaN": lambda p: edit(p, units=rests(AU_CHANNELS, float("nan"))),
    "units of 1e30": lambda p: edit(p, units=rests(AU_CHANNELS, 1e30)),
    "a spread below zero": lambda p: edit(p, units=rests(AU_CHANNELS, 0.0, -1.0)),
    "no frames": lambda p: edit(p, frames=0),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_calibration_is_refused_and_never_passed_over(site: Site, kind: str) -> None:
    DAMAGE[kind](write_calibration(site, calibration()))
    with pytest.raises(
        InputError, match=r"p-07\.json is no usable calibration .* Measure it again"
    ) as raised:
        neutral_for(site, "p-07")
    assert "\n" not in str(raised.value)


def test_a_huge_file_is_not_read_whole(site: Site) -> None:
    write_calibration(site, calibration()).write_bytes(b" " * 2**20)
    with pytest.raises(InputError, match="larger than 65536 bytes"):
        read_calibration(site, "p-07")


def test_a_calibration_that_was_renamed_is_not_taken_for_another_persons(site: Site) -> None:
    path = write_calibration(site, calibration())
    path.rename(path.with_name("p-08.json"))
    with pytest.raises(InputError, match="is the calibration of p-07"):
        neutral_for(site, "p-08")


def test_a_disk_that_cannot_be_written_is_said_so(read_only_disk: Path) -> None:
    site = Site(read_only_disk, SiteSettings(name="site-1", server="127.0.0.1:9"))
    with pytest.raises(StorageError, match="Read-only file system"):
        write_calibration(site, calibration())


@given(
    st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 255)), min_size=1, max_size=6), st.integers(0, 40)
)
def test_damaged_bytes_can_do_no_more_than_be_refused(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]], cut: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed-participants"
    site = Site(folder, SiteSettings(name="site-1", server="127.0.0.1:9"))
    path = write_calibration(site, calibration())
    content = bytearray(path.read_bytes())
    for place, flip in flips:
        content[place % len(content)] ^= flip
    path.write_bytes(content[: len(content) - cut])
    try:
        found = read_calibration(site, "p-07")
    except InputError:
        return
    assert found is not None
    assert np.isfinite(found.neutral().units).all()
