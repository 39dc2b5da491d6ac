"""A new release key: what was signed before still holds, and a kill in between leaves nothing broken."""

import datetime as dt
import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from typer.testing import CliRunner

from mien_common.errors import TrustError
from mien_common.files import write_atomic
from mien_common.release import fingerprint, public_pem, verified_index
from mien_common.release_keys import KEYS_FILE, successor
from mien_common.release_version import parse_version
from mien_server import cli
from mien_server.folder import ServerFolder
from mien_server.publishing import release_key as release_key_module
from mien_server.publishing.release_key import change_release_key, former_keys, release_key
from mien_server.publishing.releases import (
    check_release,
    promote,
    refresh_index,
    roll_back,
    rotate_release_key,
)

from ...made_models import publish_model

NOW = dt.datetime(2026, 11, 24, 9, tzinfo=dt.UTC)


def key_of(folder: ServerFolder) -> Ed25519PublicKey:
    return release_key(folder.tls).public_key()


def release(folder: ServerFolder, round_: int) -> Path:
    return promote(folder, publish_model(folder.models, round_), None, NOW).path


def test_releases_of_either_key_hold_and_the_index_names_both(folder: ServerFolder) -> None:
    before = release(folder, 1)
    files = {path.name: path.read_bytes() for path in before.iterdir()}
    old = key_of(folder)
    assert rotate_release_key(folder, NOW) == (old, key_of(folder))
    assert key_of(folder) != old
    assert (folder.tls / "release.pub").read_bytes() == public_pem(key_of(folder))
    assert stat.S_IMODE((folder.tls / "release.key").stat().st_mode) == 0o600
    after = release(folder, 2)
    assert {path.name: path.read_bytes() for path in before.iterdir()} == files, "a release never changes"
    check_release(after, "1.1.0", key_of(folder))
    with pytest.raises(TrustError, match="not by the key"):
        check_release(before, "1.0.0", key_of(folder))
    roll_back(folder, parse_version("1.0.0"), NOW)
    index = verified_index((folder.releases / "index.json").read_bytes(), key_of(folder))
    assert (index.latest, index.former_keys) == ("1.0.0", (public_pem(old).decode(),))


def test_three_changes_and_every_former_key_finds_the_newest(folder: ServerFolder) -> None:
    keys = [key_of(folder)]
    for _ in range(3):
        keys.append(rotate_release_key(folder, NOW)[1])
    assert former_keys(folder) == keys[:-1]
    for key in keys:
        assert successor((folder.releases / KEYS_FILE).read_bytes(), key) == keys[-1]
    names = {path.name for path in folder.tls.iterdir()}
    assert {name for name in names if name.startswith("release")} == {"release.key", "release.pub"}


@pytest.mark.parametrize("step", range(1, 8))
def test_wherever_it_is_killed_the_next_try_ends_with_one_new_key(
    folder: ServerFolder, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write and the rename of the new key is a place to die at."""
    release(folder, 1)
    old, left = key_of(folder), step

    class KilledError(BaseException):
        pass

    def dying(name: str, original: object) -> object:
        def call(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if not left:
                raise KilledError(name)
            return original(*arguments, **options)  # type: ignore[operator]

        return call

    with monkeypatch.context() as patched:
        patched.setattr(release_key_module, "write_atomic", dying("write", write_atomic))
        patched.setattr(Path, "replace", dying("rename", Path.replace))
        with pytest.raises(KilledError):
            change_release_key(folder, NOW)

    # Whatever is there now serves: releases can be made and read.
    release(folder, 2)
    refresh_index(folder, NOW)
    verified_index((folder.releases / "index.json").read_bytes(), key_of(folder))
    if key_of(folder) == old:
        rotate_release_key(folder, NOW)
    assert former_keys(folder) == [old]
    assert successor((folder.releases / KEYS_FILE).read_bytes(), old) == key_of(folder)
    roll_back(folder, parse_version("1.0.0"), NOW)


def test_a_damaged_list_is_not_written_over(folder: ServerFolder) -> None:
    release(folder, 1)
    rotate_release_key(folder, NOW)
    key = key_of(folder)
    (folder.releases / KEYS_FILE).write_text("{}")
    with pytest.raises(TrustError, match="is damaged"):
        rotate_release_key(folder, NOW)
    with pytest.raises(TrustError, match=r"release-keys\.json is damaged.*Put it back from a copy"):
        promote(folder, publish_model(folder.models, 2), None, NOW)
    assert key_of(folder) == key


def test_the_command_says_which_key_and_what_to_keep(folder: ServerFolder) -> None:
    release(folder, 1)
    old = fingerprint(key_of(folder))
    said = CliRunner().invoke(cli.app, ["releases", "rotate-key", "--dir", str(folder.path)])
    assert said.exit_code == 0, said.output
    assert old in said.stdout
    assert fingerprint(key_of(folder)) in said.stdout
    assert "keep a copy" in said.stdout
    listed = CliRunner().invoke(cli.app, ["releases", "--dir", str(folder.path)]).stdout
    assert f"signed with the key {fingerprint(key_of(folder))}" in listed
    last = json.loads((folder.state / "events.jsonl").read_text().splitlines()[-1])
    assert last["event"] == "release_key_rotated"
