"""Versions of Mien and of what it stands on, for cards and records."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Final

MIEN_VERSION: Final = version("mien")

_PACKAGES: Final = ("flwr", "torch", "numpy", "mediapipe")


def versions() -> dict[str, str]:
    """Installed versions by name; packages that this side does not have are left out."""
    found = {"mien": MIEN_VERSION, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
