"""What all tests share: the same random examples in every run, and small disks to fill."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: the machine does other things too.
settings.register_profile("mien", derandomize=True, deadline=None, database=None)
settings.load_profile("mien")


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
