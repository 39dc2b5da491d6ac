"""What all tests share: how they spread over processes, the same random examples in every run."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: the machine does other things too.
settings.register_profile("mien", derandomize=True, deadline=None, database=None)
settings.load_profile("mien")


INTEGRATION = Path(__file__).parent / "integration"


@pytest.hookimpl(tryfirst=True)  # before the plugin that spreads them reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With ``-n``, a file's tests share a process and its fixtures; those that start whole federations
    come first, all in one process, since two federations at once would starve each other."""
    items.sort(key=lambda item: not item.path.is_relative_to(INTEGRATION))  # stable: files keep their order
    for item in items:
        alone = item.path.is_relative_to(INTEGRATION)
        item.add_marker(pytest.mark.xdist_group("integration" if alone else item.path.stem))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB of its own."""
    disk = tmp_path / "small-disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "mien-test", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root with CAP_SYS_ADMIN can mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def read_only_disk(small_disk: Path) -> Path:
    """The same, remounted read-only; it holds the file ``old`` with the text ``old``."""
    (small_disk / "old").write_text("old")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    return small_disk
