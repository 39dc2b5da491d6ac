"""What all tests share: how they spread over processes, the same random examples in every run."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

# Before anybody imports PyTorch: the tests already run side by side, a process per core, and two threads that
# wait for each other over tiny networks on a busy machine take ten times as long as one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadline: the machine does other things too.
settings.register_profile("mien", derandomize=True, deadline=None, database=None)
settings.load_profile("mien")


INTEGRATION = "tests/integration/"


class OneFederationAtATime(LoadFileScheduling):  # type: ignore[misc]  # pytest-xdist is untyped
    """With ``-n``, a file's tests share a process and its fixtures, and all that start whole federations
    share one: two federations at once would starve each other."""

    def _split_scope(self, nodeid: str) -> str:
        return INTEGRATION if nodeid.startswith(INTEGRATION) else str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneFederationAtATime:
    """Called by pytest-xdist. (Its own groups, ``xdist_group``, do nothing under pytest 9.2.)"""
    return OneFederationAtATime(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that they do not run on alone at the end; files keep their order.

    Of those, the tests that share the standing federation come after each other.
    """
    items.sort(
        key=lambda item: (
            not item.nodeid.startswith(INTEGRATION),
            "standing" in getattr(item, "fixturenames", ()),
        )
    )


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
