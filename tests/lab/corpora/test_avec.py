"""AVEC 2016's and AVEC 2018's releases, as the tests make them."""

from pathlib import Path

import numpy as np
import pytest

from mien_common.errors import FeatureFileError, InputError, RatingsError, SettingsError
from mien_lab.corpora.avec import read_avec2016, read_avec2018

from .made_releases import avec2016, avec2018, seconds, traces, write_arff, write_csv


@pytest.fixture(scope="module")
def masc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return avec2016(tmp_path_factory.mktemp("avec2016"))


@pytest.fixture(scope="module")
def ges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return avec2018(tmp_path_factory.mktemp("avec2018"))


class TestAvec2016:
    def test_ratings_gold_standard_and_partitions(self, masc: Path) -> None:
        corpus = read_avec2016(masc)
        assert corpus.participants == ("train_1", "train_2", "dev_1")
        assert corpus.partitions == {"train_1": "train", "train_2": "train", "dev_1": "dev"}
        first = corpus.recordings[0]
        assert first.raters == ("FM1", "FM2", "FM3", "FF1", "FF2", "FF3")
        assert first.gold is not None
        expected = np.stack([traces(251, 6, 1), traces(251, 6, 0)], axis=-1)  # valence, arousal
        np.testing.assert_allclose(first.gold, expected.mean(axis=1), atol=1e-5)
        np.testing.assert_allclose(first.ratings, expected.transpose(1, 0, 2), atol=1e-4)

    def test_both_targets_features_stand_side_by_side(self, masc: Path) -> None:
        corpus = read_avec2016(masc, "geometric")
        assert len(corpus.channels) == 12
        assert corpus.channels[0] == "valence: geom_0"
        assert corpus.channels[6] == "arousal: geom_0"
        arousal = np.random.default_rng(100).normal(size=(251, 6)).round(4)
        first = corpus.recordings[0]
        np.testing.assert_allclose(first.features[first.valid, 6:], arousal[first.valid], atol=1e-5)

    def test_one_targets_features_can_be_asked_for(self, masc: Path) -> None:
        corpus = read_avec2016(masc, "geometric/valence")
        assert corpus.channels == tuple(f"geom_{place}" for place in range(6))

    def test_zeros_are_no_face(self, masc: Path) -> None:
        first = read_avec2016(masc).recordings[0]
        np.testing.assert_array_equal(np.flatnonzero(~first.valid), np.arange(40, 60))
        assert np.isnan(first.features[40:60]).all()

    def test_features_in_one_folder_without_a_time_are_taken_frame_by_frame(self, tmp_path: Path) -> None:
        root = avec2016(tmp_path, ("train_1", "dev_1"))
        for name in ("train_1", "dev_1"):
            values = np.ones((251, 2)) * np.arange(1, 252)[:, None]
            write_arff(root / "features_video_appearance" / f"{name}.arff", ("pc1", "pc2"), values)
        corpus = read_avec2016(root, "appearance")
        np.testing.assert_array_equal(corpus.recordings[0].features[:, 0], np.arange(1, 252))
        assert "no time column, taken as 25 rows a second (train_1.arff, dev_1.arff)" in corpus.note

    def test_without_single_raters_there_is_the_gold_standard(self, tmp_path: Path) -> None:
        root = avec2016(tmp_path)
        (root / "ratings_individual").rename(root / "elsewhere")
        first = read_avec2016(root).recordings[0]
        assert first.raters == ()
        assert first.ratings.shape == (0, 251, 2)
        assert first.gold is not None

    def test_features_of_test_recordings_wait_for_their_labels(self, tmp_path: Path) -> None:
        root = avec2016(tmp_path)
        for target in ("arousal", "valence"):
            folder = root / "features_video_geometric" / target
            (folder / "test_1.arff").write_bytes((folder / "dev_1.arff").read_bytes())
        corpus = read_avec2016(root)
        assert "test_1" not in corpus.participants
        assert "no ratings, left out (test_1)" in corpus.note

    def test_what_is_missing_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="not the folder of AVEC 2016: looked for ratings_gold_standard"):
            read_avec2016(tmp_path)
        root = avec2016(tmp_path)
        with pytest.raises(InputError, match="AVEC 2016 with deep features: looked for features_video_deep"):
            read_avec2016(root, "deep")
        with pytest.raises(SettingsError, match="holds no folder liking"):
            read_avec2016(root, "geometric/liking")
        (root / "features_video_geometric" / "valence" / "dev_1.arff").unlink()
        with pytest.raises(FeatureFileError, match="no features of recording dev_1, which is rated"):
            read_avec2016(root)

    def test_a_concatenated_file_is_refused(self, tmp_path: Path) -> None:
        root = avec2016(tmp_path, ("train_1",))
        path = root / "features_video_geometric" / "valence" / "train_1.arff"
        rows = "\n".join(f"train_{1 + row // 50},{row % 50 / 25},1" for row in range(100))
        head = (
            "@relation r\n@attribute name string\n@attribute frameTime numeric\n@attribute a numeric\n@data\n"
        )
        path.write_text(head + rows)
        with pytest.raises(FeatureFileError, match=r"holds several recordings \(train_1, train_2, …\)"):
            read_avec2016(root)

    def test_a_recording_of_no_partition_is_refused(self, tmp_path: Path) -> None:
        root = avec2016(tmp_path, ("P16",))
        for target in ("arousal", "valence"):
            folder = root / "features_video_geometric" / target
            (folder / "P16.arff").rename(folder / "train_1.arff")
        with pytest.raises(RatingsError, match="P16 is not called train_1, dev_1 or test_1"):
            read_avec2016(root)

    def test_two_columns_are_no_gold_standard(self, tmp_path: Path) -> None:
        root = avec2016(tmp_path, ("train_1",))
        path = root / "ratings_gold_standard" / "valence" / "train_1.arff"
        write_arff(
            path, ("frameTime", "GoldStandard", "more"), np.zeros((251, 3)) + seconds(251)[:, None] / 20
        )
        with pytest.raises(RatingsError, match="has 2 columns beside the time, a gold standard one"):
            read_avec2016(root)


class TestAvec2018:
    def test_features_every_400_ms_set_the_clock(self, ges: Path) -> None:
        corpus = read_avec2018(ges)
        assert corpus.rate_hz == 2.5
        assert corpus.channels == ("AU01_mean", "AU02_mean", "AU04_mean", "AU01_std", "AU02_std")
        assert corpus.partitions["dev_1"] == "dev"
        first = corpus.recordings[0]
        assert len(first.valid) == 241  # windows of 4 s within 100 s
        assert not first.valid[3]
        assert first.gold is not None
        expected = traces(2501, 6, 1).mean(axis=1)[: 241 * 10 : 10]
        np.testing.assert_allclose(first.gold[:, 0], expected, atol=1e-5)
        assert "features end at 96 s and ratings at 100 s" in corpus.note

    def test_of_several_windows_one_is_asked_for(self, tmp_path: Path) -> None:
        root = avec2018(tmp_path, ("4.0_0.4", "6.0_0.8"))
        with pytest.raises(SettingsError, match=r"features of 2 windows. Say which, such as AU/4\.0_0\.4"):
            read_avec2018(root, "AU")
        assert read_avec2018(root, "AU/6.0_0.8").rate_hz == 1.25
        with pytest.raises(SettingsError, match=r"no window 5\.0_0\.4; it has 4\.0_0\.4, 6\.0_0\.8"):
            read_avec2018(root, "AU/5.0_0.4")

    def test_csv_features_with_names_are_read_too(self, tmp_path: Path) -> None:
        root = avec2018(tmp_path, ())
        for name in ("train_1", "train_2", "dev_1"):
            values = np.column_stack([seconds(2501), np.ones(2501)])
            path = write_csv(
                root / "features" / "video" / "BoVW" / f"{name}.csv", ("frametime", "w1"), values
            )
            head, *rows = path.read_text().splitlines()
            path.write_text("\n".join(["name;" + head, *(f"'{name}';{row}" for row in rows)]))
        assert read_avec2018(root, "BoVW").channels == ("w1",)

    def test_of_several_gold_standards_the_first_is_taken_and_that_is_said(self, tmp_path: Path) -> None:
        root = avec2018(tmp_path)
        (root / "labels" / "gs_2").mkdir()
        assert "of 2 gold standards given, gs_1 is taken" in read_avec2018(root).note

    def test_what_is_missing_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="not the folder of AVEC 2018: looked for labels"):
            read_avec2018(tmp_path)
        root = avec2018(tmp_path)
        with pytest.raises(InputError, match="looked for features/video/appearance"):
            read_avec2018(root, "appearance")
        (root / "features" / "video" / "appearance").mkdir()
        with pytest.raises(FeatureFileError, match=r"holds no features: looked for train_1\.arff"):
            read_avec2018(root, "appearance")
