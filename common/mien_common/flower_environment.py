"""What Flower must not do on our machines: report home, look for updates, install packages.

Flower reads these variables when it is imported, so they are set before that.
"""

from typing import Final

QUIET_FLOWER: Final = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}
