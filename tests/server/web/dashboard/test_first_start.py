"""What ``mien server up`` says of the dashboard: the operator's token the first time, and never again."""

from dataclasses import replace
from pathlib import Path

import pytest

from mien_common.errors import StorageError
from mien_server.commands.up import _say_ready
from mien_server.folder import ServerFolder
from mien_server.web.dashboard.access import Access
from mien_server.web.dashboard.tokens import Tokens


def said(folder: ServerFolder, capsys: pytest.CaptureFixture[str], access: Access = Access()) -> list[str]:  # noqa: B008 - frozen
    _say_ready(folder, access)
    return capsys.readouterr().out.splitlines()


def test_the_token_is_shown_once(folder: ServerFolder, capsys: pytest.CaptureFixture[str]) -> None:
    first = said(folder, capsys)
    assert first[:2] == [
        f"ready: agents connect to port {folder.settings.port}",
        f"dashboard: http://127.0.0.1:{folder.settings.dashboard_port}",
    ]
    (shown,) = [line.rpartition(" ")[2] for line in first if "shown only now" in line]
    assert Tokens(folder).role_of(shown) == "operator"
    again = said(folder, capsys)
    assert shown not in "".join(again)
    assert f"mien server token --dir {folder.path}" in again[-1]


def test_in_public_it_says_what_browsers_have_to_trust(
    folder: ServerFolder, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    own = said(folder, capsys, Access(public=True))
    assert own[1].startswith("dashboard: https://")
    assert f"https://localhost:{folder.settings.dashboard_port}" in own[2]
    assert str(folder.ca_certificate) in own[3]
    theirs = said(folder, capsys, Access(public=True, certificate=tmp_path / "c", key=tmp_path / "k"))
    assert str(folder.ca_certificate) not in "".join(theirs)


def test_a_full_disk_keeps_no_server_from_its_work(
    folder: ServerFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("cannot write: No space left on device.")

    monkeypatch.setattr("mien_server.web.dashboard.tokens.first_token", full)
    assert "no token could be made: cannot write" in said(folder, capsys)[-1]


def test_without_a_port_there_is_nothing_to_say(
    folder: ServerFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = replace(folder, settings=folder.settings.model_copy(update={"dashboard_port": 0}))
    assert len(said(nowhere, capsys)) == 1
    assert Tokens(folder).role_of("") is None
