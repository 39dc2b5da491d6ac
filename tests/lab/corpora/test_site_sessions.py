"""Sessions of Mien's sites as a corpus."""

import json
from pathlib import Path

import numpy as np
import pytest

from mien_client.features import MODEL_CHANNELS, Features, clock_for
from mien_client.sessions import SESSION_FILE, Session, session_record, write_session
from mien_common.errors import RatingsError, SessionError
from mien_common.schema import AU_V1
from mien_lab.corpora.site_sessions import read_sessions

from .made_releases import traces


def put_session(
    sessions: Path,
    name: str,
    participant: str | None = None,
    *,
    rated: bool = True,
    extractor: str = "mediapipe",
) -> Session:
    """A session of 4 s, whose first frame has no deltas and is not valid."""
    clock = clock_for(4.0)
    frames = len(clock)
    values = np.random.default_rng(frames + len(name)).normal(1, 0.2, (frames, 40)).astype(np.float32)
    values[0, 20:] = np.nan
    valid = np.arange(frames) > 0
    features = Features(clock, values, valid, np.zeros(frames, np.uint8), np.zeros(frames, np.int32))
    record = session_record(
        session_id=name,
        features=features,
        rated=rated,
        held_out=False,
        source=Path(f"{name}.mp4"),
        source_sha256="0" * 64,
        participant=participant,
        neutral="running",
        features_from=extractor,  # type: ignore[arg-type]
        confined=True,
    )
    session = Session(record, features, traces(frames, 2, 3).astype(np.float32) if rated else None)
    sessions.mkdir(parents=True, exist_ok=True)
    write_session(sessions, session)
    return session


def test_a_site_is_a_corpus(tmp_path: Path) -> None:
    made = put_session(tmp_path / "lab-1" / "sessions", "s1", "p01")
    put_session(tmp_path / "lab-1" / "sessions", "s2", "p02")
    corpus = read_sessions(tmp_path / "lab-1")
    assert (corpus.channels, corpus.rate_hz) == (AU_V1.channels, 25.0)
    assert corpus.participants == ("p01", "p02")
    first = corpus.recordings[0]
    np.testing.assert_array_equal(first.features[:, MODEL_CHANNELS], made.features.values[:, MODEL_CHANNELS])
    np.testing.assert_array_equal(first.valid, made.features.valid)
    np.testing.assert_array_equal(first.ratings[0], made.ratings)
    assert first.raters == ("rater",)


def test_channels_that_no_model_is_given_are_unknown(tmp_path: Path) -> None:
    put_session(tmp_path / "sessions", "s1")
    (first,) = read_sessions(tmp_path).recordings
    assert not MODEL_CHANNELS.all()
    assert np.isnan(first.features[:, ~MODEL_CHANNELS]).all()


def test_people_of_several_sites_are_told_apart_by_their_site(tmp_path: Path) -> None:
    put_session(tmp_path / "lab-1" / "sessions", "s1", "p01")
    put_session(tmp_path / "lab-2" / "sessions", "s1", "p01")
    put_session(tmp_path / "lab-3" / "sessions", "s1")
    corpus = read_sessions(tmp_path)
    assert corpus.participants == ("lab-1/p01", "lab-2/p01", "lab-3")
    assert [each.name for each in corpus.recordings] == ["lab-1/s1", "lab-2/s1", "lab-3/s1"]


def test_a_bare_folder_of_sessions_will_do(tmp_path: Path) -> None:
    put_session(tmp_path, "s1", "p01")
    put_session(tmp_path, "s2", "p01", rated=False)
    corpus = read_sessions(tmp_path)
    assert len(corpus.recordings) == 1
    assert corpus.note == "no ratings, left out (s2)"


def test_extractors_on_scales_of_their_own_are_said(tmp_path: Path) -> None:
    put_session(tmp_path, "s1", "p01")
    put_session(tmp_path, "s2", "p02", extractor="openface")
    assert "features of mediapipe (s1, …), openface (s2, …), each on a scale of its own" in (
        read_sessions(tmp_path).note
    )


def test_another_schema_is_refused_with_its_session(tmp_path: Path) -> None:
    put_session(tmp_path, "s1", "p01")
    put_session(tmp_path, "s2", "p02")
    path = tmp_path / "s2" / SESSION_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_name": "au-v2"}))
    with pytest.raises(SessionError, match=r"s2 is of schema 'au-v2'"):
        read_sessions(tmp_path)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match=r"holds no sessions: looked for sessions/\*/session\.json"):
        read_sessions(tmp_path)
    put_session(tmp_path, "s1", rated=False)
    with pytest.raises(RatingsError, match="none of its sessions has ratings"):
        read_sessions(tmp_path)
