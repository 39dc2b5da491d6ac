"""A session as a picture. What it looks like was looked at; here is tested what it must not do."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien_client.observations import FaceState
from mien_client.session_plot import STATE_COLOURS, draw_session, plot_session, site_of
from mien_client.sessions import Session, write_session
from mien_client.site import Site
from mien_common.architecture import Architecture
from mien_common.errors import ModelError, SessionError, SettingsError
from mien_common.network import build
from mien_common.published import ModelCard, publish
from mien_common.schema import AU_V1
from mien_common.weights import weights_of

Make = Callable[..., Session]


def published(folder: Path, architecture: Architecture) -> Path:
    card = ModelCard(
        schema_name=AU_V1.name,
        channels=AU_V1.channels,
        rate_hz=25.0,
        architecture=architecture,
        run="7",
        round=12,
        created="2026-11-23T09:00:00+00:00",
        sites=(),
        ccc={},
        weights_bytes=0,
        versions={},
        sha256="0" * 64,
    )
    return publish(folder, weights_of(build(architecture, 1)), card)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return published(tmp_path / "model", Architecture())


def words_in(svg: bytes) -> str:
    root = ElementTree.fromstring(svg)  # noqa: S314 - we have just written it
    return "\n".join("".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text"))


def test_every_state_has_a_colour_of_its_own(make_session: Make) -> None:
    session = make_session("s", seconds=14.0, rated=False)
    features = session.features
    state = np.repeat(np.arange(7, dtype=np.uint8), 51)[: len(features.state)]
    face = np.repeat(np.arange(2, dtype=np.int32), 300)[: len(features.state)]
    drawn = draw_session(
        replace(session, features=replace(features, state=state, face=face)), None, None, "svg"
    )
    said = words_in(drawn)
    for words in ("face seen", "no frame", "no face", "turned away", "too small", "too dark", "covered"):
        assert words in said
    assert "another face" in said
    assert all(colour.lower().encode() in drawn.lower() for colour in STATE_COLOURS.values())
    assert len(set(STATE_COLOURS.values())) == len(FaceState)
    assert "valence" not in said, "no ratings, no prediction: no empty axes"


def test_png_and_svg_of_a_rated_session(site: Site, make_session: Make, model: Path, tmp_path: Path) -> None:
    folder = write_session(site.sessions, make_session("s-1", seconds=8.0))
    plot_session(folder, None, None, tmp_path / "s.png")
    with Image.open(tmp_path / "s.png") as picture:
        assert picture.width == 1300
        colours = picture.convert("RGB").getcolors(1 << 24)
        assert colours is not None
        assert len(colours) > 50
    plot_session(folder, model, None, tmp_path / "s.svg")
    said = words_in((tmp_path / "s.svg").read_bytes())
    for words in (
        "film.avi",
        "lip corner puller",
        "AU12",
        "(experimental)",
        "valence",
        "arousal",
        "prediction",
    ):
        assert words in said
    assert "model of run 7, round 12" in said
    assert "rating" in said


def test_ratings_are_moved_by_the_sites_lag_beside_a_prediction(
    site: Site, make_session: Make, model: Path, tmp_path: Path
) -> None:
    lagging = replace(site, settings=site.settings.model_copy(update={"lag_s": 2.0}))
    folder = write_session(site.sessions, make_session("s-1", seconds=8.0))
    plot_session(folder, model, lagging, tmp_path / "s.svg")
    assert "rating, moved 2 s back (the site's lag)" in words_in((tmp_path / "s.svg").read_bytes())
    plot_session(folder, None, lagging, tmp_path / "s.svg")
    assert "moved" not in words_in((tmp_path / "s.svg").read_bytes())


def test_a_name_that_looks_like_mathematics_and_a_channel_that_is_never_known(make_session: Make) -> None:
    session = make_session("s")
    name = "$\\frac{a$ 映画 " + "x" * 200 + ".mp4"
    session = replace(session, record=session.record.model_copy(update={"source_name": name}))
    session.features.values[:, AU_V1.channels.index("AU09_r")] = np.nan
    said = words_in(draw_session(session, None, None, "svg"))
    assert "$\\frac{a$ 映画 xxx" in said
    assert "x" * 100 not in said
    assert "never known" in said
    draw_session(session, None, None, "png")


def test_a_long_session_is_thinned_and_gaps_stay(make_session: Make) -> None:
    valid = np.arange(1200 * 25 + 1) % 3000 > 600
    session = make_session("s", seconds=1200.0, valid=valid)
    drawn = draw_session(session, None, None, "svg")
    assert len(drawn) < 3_000_000
    assert "20:00" in words_in(drawn)


def test_what_cannot_be_drawn_is_said(site: Site, make_session: Make, model: Path, tmp_path: Path) -> None:
    elsewhere = write_session(tmp_path / "elsewhere", make_session("s-1"))
    assert site_of(elsewhere) is None
    with pytest.raises(SettingsError, match=r"must end in \.png or \.svg"):
        plot_session(elsewhere, None, None, tmp_path / "s.pdf")
    with pytest.raises(SettingsError, match="Give it with --site"):
        plot_session(elsewhere, model, None, tmp_path / "s.png")
    with pytest.raises(SessionError, match="no usable session"):
        plot_session(tmp_path, None, None, tmp_path / "s.png")
    write_session(site.sessions, make_session("s-1"))
    with pytest.raises(ModelError):
        plot_session(site.sessions / "s-1", tmp_path, site, tmp_path / "s.png")
    assert not list(tmp_path.glob("s.*"))


def test_what_a_model_predicts_from_both_ends_is_drawn_and_a_pair_per_window_is_not(
    site: Site, make_session: Make, tmp_path: Path
) -> None:
    folder = write_session(site.sessions, make_session("s-1", seconds=8.0))
    both_ways = published(tmp_path / "both", Architecture(kind="rnn", hidden_units=4, bidirectional=True))
    plot_session(folder, both_ways, None, tmp_path / "s.svg")
    assert "prediction" in words_in((tmp_path / "s.svg").read_bytes())
    windows = published(tmp_path / "windows", Architecture(hidden_units=4, predicts="window"))
    with pytest.raises(ModelError, match=r"round 12: GRU, .*gives one pair per window"):
        plot_session(folder, windows, None, tmp_path / "w.svg")
    assert not (tmp_path / "w.svg").exists()
