"""The system libraries that a lab machine needs, found before anything heavy is loaded.

Enters: nothing but what the dynamic loader can find. Leaves: silence, or one error that names every
missing library and the one command that installs them all.

Standard library only, because ``make setup`` runs this file before it installs anything::

    PYTHONPATH=client:common python3.11 -m mien_client.system_libraries   # the missing packages, if any
"""

import ctypes
import sys
from collections.abc import Callable, Mapping
from typing import Final

from mien_common.errors import SystemLibraryError

APT_PACKAGES: Final[Mapping[str, str]] = {
    "libEGL.so.1": "libegl1",
    "libGLESv2.so.2": "libgles2",
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libxcb.so.1": "libxcb1",
    "libseccomp.so.2": "libseccomp2",
}
"""Library to Debian package: MediaPipe loads the first two, OpenCV the next three, the face process'
confinement the last. (``ldd`` on the wheels' own libraries names them.)"""


def loadable(library: str) -> bool:
    """Whether the dynamic loader finds ``library`` and everything it needs in turn."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def missing_libraries(is_loadable: Callable[[str], bool] = loadable) -> tuple[str, ...]:
    """The libraries of :data:`APT_PACKAGES` that cannot be loaded here."""
    return tuple(library for library in APT_PACKAGES if not is_loadable(library))


def require_system_libraries(is_loadable: Callable[[str], bool] = loadable) -> None:
    """Return when every system library is there.

    Raises
    ------
    SystemLibraryError
        Some are not; the message names them and the command that installs them.
    """
    missing = missing_libraries(is_loadable)
    if missing:
        packages = " ".join(APT_PACKAGES[library] for library in missing)
        raise SystemLibraryError(
            f"this machine lacks {', '.join(missing)}. Install with: sudo apt-get install -y {packages}"
        )


if __name__ == "__main__":
    sys.stdout.write(" ".join(APT_PACKAGES[library] for library in missing_libraries()))
