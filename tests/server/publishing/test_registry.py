"""The registry: models whole or absent, ``latest`` never astray."""

import shutil
from pathlib import Path

import pytest

from mien_common.architecture import Architecture
from mien_common.errors import StorageError
from mien_common.network import build
from mien_common.published import ModelCard, read_published
from mien_common.schema import AU_V1
from mien_common.weights import weights_of
from mien_server.publishing.registry import list_models, publish_round
from mien_server.runs.evaluation import agreement

TINY = Architecture(hidden_units=3, layers=1)


def card(round_: int, run: str = "2026-11-23-001") -> ModelCard:
    return ModelCard(
        schema_name=AU_V1.name,
        channels=AU_V1.channels,
        rate_hz=AU_V1.rate_hz,
        architecture=TINY,
        run=run,
        round=round_,
        created=f"2026-11-23T10:00:{round_:02d}+00:00",
        sites=(),
        ccc=agreement([]),
        weights_bytes=0,
        versions={},
        sha256="0" * 64,
    )


def publish(models: Path, round_: int, run: str = "2026-11-23-001") -> Path:
    return publish_round(models, weights_of(build(TINY, round_)), card(round_, run))


def test_latest_is_the_newest_and_moves_with_the_folder(tmp_path: Path) -> None:
    publish(tmp_path / "models", 1)
    publish(tmp_path / "models", 2)
    moved = (tmp_path / "models").rename(tmp_path / "elsewhere")

    assert (moved / "latest").readlink() == Path("2026-11-23-001/round-0002")
    assert read_published(moved / "latest")[0].round == 2


def test_models_are_listed_oldest_first(tmp_path: Path) -> None:
    publish(tmp_path, 1, run="b")
    publish(tmp_path, 2, run="a")
    publish(tmp_path, 3, run="a")

    found = list_models(tmp_path)

    assert [(model.card.run, model.card.round, model.is_latest) for model in found] == [
        ("b", 1, False),
        ("a", 2, False),
        ("a", 3, True),
    ]


def test_what_is_no_model_is_not_listed(tmp_path: Path) -> None:
    whole = publish(tmp_path, 1)
    (whole.parent / "round-0002").mkdir()
    (whole.parent / ".round-0003.x").mkdir()

    assert [model.path for model in list_models(tmp_path)] == [whole]
    assert list_models(tmp_path / "none") == []


def test_a_full_disk_leaves_the_old_model(small_disk: Path) -> None:
    models = small_disk / "models"
    publish(models, 1)
    (small_disk / "ballast").write_bytes(b"x" * (shutil.disk_usage(small_disk).free - 4096))

    with pytest.raises(StorageError, match="Free some space"):
        publish(models, 2)

    assert read_published(models / "latest")[0].round == 1
    assert [path.name for path in (models / "2026-11-23-001").iterdir()] == ["round-0001"]


def test_a_round_is_published_once(tmp_path: Path) -> None:
    publish(tmp_path, 1)

    with pytest.raises(StorageError, match="exists already"):
        publish(tmp_path, 1)
