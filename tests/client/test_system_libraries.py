"""The check that names missing system libraries, and the image that installs them."""

from pathlib import Path

import pytest

from mien_client.system_libraries import APT_PACKAGES, loadable, require_system_libraries
from mien_common.errors import SystemLibraryError


def test_names_every_missing_library_and_one_command() -> None:
    with pytest.raises(SystemLibraryError) as raised:
        require_system_libraries(lambda library: library not in {"libEGL.so.1", "libseccomp.so.2"})
    assert str(raised.value) == (
        "this machine lacks libEGL.so.1, libseccomp.so.2. "
        "Install with: sudo apt-get install -y libegl1 libseccomp2"
    )


def test_silent_where_everything_loads() -> None:
    require_system_libraries(lambda _: True)


def test_asks_the_dynamic_loader() -> None:
    assert loadable("libc.so.6")
    assert not loadable("libmien-absent.so.9")


def test_the_client_image_installs_the_same_packages() -> None:
    dockerfile = (Path(__file__).parents[2] / "Dockerfile.client").read_text()
    assert all(f" {package} " in dockerfile for package in APT_PACKAGES.values())
