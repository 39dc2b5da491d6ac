"""The operator's commands when the server is down: what they print, one line when something is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from mien_server.folder import ServerFolder, open_folder


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "mien_common", "server", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60)


def test_init_makes_a_folder_that_opens(tmp_path: Path) -> None:
    made = command("init", tmp_path / "s", "--host", "lab.example.org", "--ip", "192.0.2.7", "--port", "7001")

    assert made.returncode == 0, made.stderr
    settings = open_folder(tmp_path / "s").settings
    assert (settings.hosts, settings.ips, settings.port) == (("lab.example.org",), ("192.0.2.7",), 7001)
    assert "ca.crt" in made.stdout


def test_a_wrong_setting_leaves_no_folder_behind(tmp_path: Path) -> None:
    made = command("init", tmp_path / "s", "--ip", "300.0.0.1")

    assert made.returncode == 1
    assert made.stderr.startswith("error: ")
    assert "ips" in made.stderr
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("health",),
        ("run", "--rounds", "1"),
        ("run", "--rounds", "0"),
        ("enrol", "no-such-file.pub", "--name", "lab-1"),
    ],
)
def test_an_error_is_one_line(folder: ServerFolder, arguments: tuple[str, ...]) -> None:
    found = command(*arguments, "--dir", folder.path)

    assert found.returncode == 1
    assert found.stdout == ""
    assert found.stderr.startswith("error: ")
    assert found.stderr.count("\n") == 1


def test_no_models_yet(folder: ServerFolder) -> None:
    assert "no models yet" in command("models", "--dir", folder.path).stdout
    assert command("models", "--json", "--dir", folder.path).stdout == ""


@pytest.mark.parametrize("name", ["init", "enrol", "up", "run", "models", "health"])
def test_every_command_explains_itself(name: str) -> None:
    found = command(name, "--help")

    assert found.returncode == 0
    assert "Usage:" in found.stdout
