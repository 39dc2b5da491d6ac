"""Which recordings are found under the paths a person gives, and whose ratings they get."""

import os
from pathlib import Path

import pytest

from mien_client.recordings import Recording, content_hash, find_recordings
from mien_common.errors import InputError, RatingsError, SettingsError, VideoError

RATINGS = "time,valence,arousal\n0,0,0\n9,0,0\n"
OPENFACE = "frame, face_id, timestamp, confidence, success, AU12_r\n"


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(OPENFACE if "openface" in name else RATINGS if name.endswith(".csv") else name)


def find(*paths: Path, ratings: Path | None = None) -> tuple[list[Recording], list[str]]:
    notes: list[str] = []
    return find_recordings(paths, ratings, Path("nowhere"), notes.append), notes


def names(found: list[Recording], top: Path) -> list[tuple[str, str]]:
    return [(str(recording.path.relative_to(top)), recording.kind) for recording in found]


def test_videos_of_a_folder_come_in_natural_order(tmp_path: Path) -> None:
    make(tmp_path, "p10/a.mp4", "p9/clip-10.MKV", "p9/clip-9.avi", "p9/notes.txt", "z.mov", "p9/._clip.mp4")
    make(tmp_path, ".trash/a.mp4")
    found, _ = find(tmp_path)
    assert [name for name, _ in names(found, tmp_path)] == [
        *("z.mov", "p9/clip-9.avi", "p9/clip-10.MKV", "p10/a.mp4"),
    ]


def test_each_is_taken_once_however_often_it_is_named(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    found, _ = find(tmp_path / "b.mp4", tmp_path, tmp_path / "." / "a.mp4")
    assert [recording.path.name for recording in found] == ["b.mp4", "a.mp4"]


def test_a_folder_of_pictures_is_one_recording(tmp_path: Path) -> None:
    make(tmp_path, *(f"person/{number}.png" for number in range(8)), "person.csv")
    make(tmp_path, "films/a.mp4", *(f"films/{number}.jpg" for number in range(8)), "shots/one.png")
    found, _ = find(tmp_path)
    assert names(found, tmp_path) == [("films/a.mp4", "video"), ("person", "images")]
    assert found[1].ratings == tmp_path / "person.csv"
    assert names(find(tmp_path / "shots")[0], tmp_path) == [("shots", "images")], "given, few will do"


def test_what_only_looks_like_a_film_is_named(tmp_path: Path) -> None:
    make(tmp_path, "film.mp4")
    os.mkfifo(tmp_path / "live.mp4")
    (tmp_path / "moved.mp4").symlink_to(tmp_path / "elsewhere.mp4")
    found, notes = find(tmp_path)
    assert names(found, tmp_path) == [("film.mp4", "video")]
    assert notes == [
        f"{tmp_path / name} is left out: it is no ordinary file" for name in ("live.mp4", "moved.mp4")
    ]


def test_feature_files_are_found_but_not_beside_their_video(tmp_path: Path) -> None:
    make(tmp_path, "openface-1.csv", "film-openface.csv", "film-openface.mp4", "heart.csv")
    found, notes = find(tmp_path)
    assert names(found, tmp_path) == [("film-openface.mp4", "video"), ("openface-1.csv", "features")]
    assert notes == [
        f"{tmp_path / 'film-openface.csv'} is left out: the video it was made from lies beside it"
    ]
    assert found[0].ratings is None, "OpenFace's file of the same name is no ratings"


def test_the_sites_own_folder_is_not_looked_into(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "site/sessions/s/openface.csv", "site/b.mp4")
    found = find_recordings([tmp_path], None, tmp_path / "site", lambda _: None)
    assert names(found, tmp_path) == [("a.mp4", "video")]


def test_ratings_lie_beside(tmp_path: Path) -> None:
    make(tmp_path, "p1/s.mp4", "p1/s.csv", "p2/s.mp4", "p2/t.csv")
    found, _ = find(tmp_path)
    assert [recording.ratings for recording in found] == [tmp_path / "p1" / "s.csv", None]
    assert find(tmp_path / "p1" / "s.mp4")[0][0].ratings == tmp_path / "p1" / "s.csv"


def test_ratings_in_a_folder_of_their_own(tmp_path: Path) -> None:
    make(tmp_path, "v/p1/s.mp4", "v/p2/s.mp4", "v/p2/only.mp4", "v/p1/s.csv")
    make(tmp_path, "r/p2/s.csv", "r/only.csv", "r/s.csv")
    found, _ = find(tmp_path / "v", ratings=tmp_path / "r")
    given = {str(each.path.relative_to(tmp_path / "v")): each.ratings for each in found}
    assert given == {
        "p1/s.mp4": None,  # r/s.csv could be either's: never another person's ratings
        "p2/s.mp4": tmp_path / "r" / "p2" / "s.csv",
        "p2/only.mp4": tmp_path / "r" / "only.csv",
    }


def test_one_file_of_ratings_is_one_recordings(tmp_path: Path) -> None:
    make(tmp_path, "v/a.mp4", "v/b.mp4", "r.csv")
    assert find(tmp_path / "v" / "a.mp4", ratings=tmp_path / "r.csv")[0][0].ratings == tmp_path / "r.csv"
    with pytest.raises(SettingsError, match=r"one file and there are 2 recordings. Give --ratings a folder"):
        find(tmp_path / "v", ratings=tmp_path / "r.csv")
    with pytest.raises(RatingsError, match="No such file"):
        find(tmp_path / "v", ratings=tmp_path / "absent")


def test_a_folder_with_nothing_in_it_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "notes.txt", "ratings.csv", "deep/er/x.csv")
    with pytest.raises(VideoError, match="holds no video, no folder of images and no CSV file of features"):
        find(tmp_path)


def test_the_hash_is_of_the_content(tmp_path: Path) -> None:
    make(tmp_path, *(f"one/{number}.png" for number in range(12)))
    (tmp_path / "two").mkdir()
    for number in range(12):  # the same pictures in the same order, by other names
        os.link(tmp_path / "one" / f"{number}.png", tmp_path / "two" / f"frame{number:04d}.png")
    one, two = (content_hash(Recording(tmp_path / name, "images"), lambda: None) for name in ("one", "two"))
    assert one == two
    (tmp_path / "two" / "frame0000.png").rename(tmp_path / "two" / "frame9.png")
    assert content_hash(Recording(tmp_path / "two", "images"), lambda: None) != one, "another order"
    with pytest.raises(InputError, match="cannot read"):
        content_hash(Recording(tmp_path / "absent.mp4"), lambda: None)
