"""The landmarker's model asset: only the very file this version was built with is loaded."""

from pathlib import Path

import pytest

from mien_client.face import landmarks
from mien_client.face.landmarks import Landmarker, model_asset
from mien_common.errors import ConfinementError


def test_an_asset_that_is_cut_changed_or_longer_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = model_asset()
    asset = tmp_path / "assets" / "face_landmarker.task"
    asset.parent.mkdir()
    monkeypatch.setattr(landmarks, "files", lambda _package: tmp_path)
    for content in (b"", whole[:-1], whole + b"\0", bytes([whole[0] ^ 1]) + whole[1:]):
        asset.write_bytes(content)
        with pytest.raises(ConfinementError, match=r"model asset is damaged.*Install mien again"):
            Landmarker()
    asset.write_bytes(whole)
    assert model_asset() == whole


def test_an_asset_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmarks, "files", lambda _package: tmp_path)
    with pytest.raises(ConfinementError, match=r"cannot be read \(No such file or directory\)\. Install"):
        Landmarker()
    (tmp_path / "assets" / "face_landmarker.task").mkdir(parents=True)
    with pytest.raises(ConfinementError, match=r"cannot be read \(Is a directory\)\. Install"):
        Landmarker()
