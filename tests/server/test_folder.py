"""The server's folder: settings that hold, one server at a time, no drafts left."""

import subprocess
import sys
from pathlib import Path

import pytest

from mien_common.errors import FederationError, SettingsError, StorageError
from mien_server.folder import (
    ServerFolder,
    ServerSettings,
    create_folder,
    locked_for_up,
    open_folder,
    parse_settings,
    remove_drafts,
    save_settings,
)


def test_settings_survive_the_file(tmp_path: Path) -> None:
    settings = ServerSettings(
        hosts=("lab.example.org",),
        ips=("::2",),
        listen="::",
        port=7001,
        control_port=7002,
        tensorboard=False,
        mlflow="https://me:secret@mlflow.example.org/",
    )
    save_settings(create_folder(tmp_path / "s", settings))

    assert open_folder(tmp_path / "s").settings == settings


@pytest.mark.parametrize(
    "values",
    [
        {"port": 0},
        {"port": 70000},
        {"port": 7000, "control_port": 7000},
        {"port": 7000, "enrol_port": 7000},
        {"control_port": 7000, "enrol_port": 7000},
        {"enrol_port": -1},
        {"port": 7000, "releases_port": 7000},
        {"control_port": 7000, "releases_port": 7000},
        {"enrol_port": 7000, "releases_port": 7000},
        {"releases_port": -1},
        {"listen": "everywhere"},
        {"mlflow": "lab.example.org:5000"},
        {"mlflow": "file:///tmp/runs"},
        {"mlflow": "https://"},
        {"tensorboard": "perhaps"},
        {"ips": ["300.1.1.1"]},
        {"hosts": ["a name"]},
        {"prot": 9092},
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"server\.toml"):
        parse_settings(values, "server.toml")


def test_what_is_wrong_with_an_address_is_said_without_its_password() -> None:
    with pytest.raises(SettingsError, match="mlflow") as refused:
        parse_settings({"mlflow": "ftp://me:secret@mlflow.example.org"}, "server.toml")

    assert "secret" not in str(refused.value)


def test_a_folder_from_before_there_were_releases_opens_with_the_usual_port(folder: ServerFolder) -> None:
    file = folder.path / "server.toml"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(line for line in lines if not line.startswith("releases_port")))

    assert open_folder(folder.path).settings.releases_port == 9095
    assert parse_settings({"port": 9095, "control_port": 9096}, "old").releases_port == 9097


@pytest.mark.parametrize("content", ["port = ", "port = 0", b"\xff\xfe"])
def test_a_damaged_settings_file_is_named(folder: ServerFolder, content: str | bytes) -> None:
    file = folder.path / "server.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(SettingsError, match=r"server\.toml"):
        open_folder(folder.path)


def test_a_folder_of_before_there_was_an_enrolment_port_gets_the_usual_one(folder: ServerFolder) -> None:
    file = folder.path / "server.toml"
    lines = [line for line in file.read_text().splitlines() if not line.startswith("enrol_port")]
    file.write_text("\n".join(lines))

    assert open_folder(folder.path).settings.enrol_port == 9094


def test_another_folder_is_no_server_folder(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="mien server init"):
        open_folder(tmp_path)


def test_a_file_is_no_server_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StorageError, match="is a file"):
        open_folder(tmp_path / "file")


def test_a_folder_is_made_once(folder: ServerFolder) -> None:
    with pytest.raises(SettingsError, match="already"):
        create_folder(folder.path, folder.settings)


def test_keys_and_state_are_closed_to_others(folder: ServerFolder) -> None:
    assert folder.tls.stat().st_mode & 0o077 == 0
    assert folder.state.stat().st_mode & 0o077 == 0


HOLD = """
import sys, pathlib
from mien_server.folder import locked_for_up, open_folder
with locked_for_up(open_folder(pathlib.Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_servers_on_one_folder_are_refused(folder: ServerFolder) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(FederationError, match=f"already runs on .* .process {holder.pid}."),
            locked_for_up(folder),
        ):
            pass
        holder.kill()
    with locked_for_up(folder):  # a server that was killed leaves the folder free
        pass


def test_drafts_of_a_crash_are_removed(folder: ServerFolder) -> None:
    whole = folder.models / "run" / "round-0001"
    whole.mkdir(parents=True)
    draft = folder.models / "run" / ".round-0002.x1"
    draft.mkdir()
    (draft / "model.safetensors").touch()
    link = folder.models / ".latest.77"
    link.symlink_to("run/round-0001")

    assert set(remove_drafts(folder)) == {draft, link}
    assert whole.is_dir()
    assert not draft.exists()
    assert not link.is_symlink()
