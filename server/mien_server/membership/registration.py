"""Tells a running server at once who may join, where one runs; else the next `up` does."""

from mien_common.errors import FederationError
from mien_server.folder import ServerFolder
from mien_server.health import check_health
from mien_server.membership.enrolment import register


def register_now(folder: ServerFolder) -> bool:
    """Whether a server runs and now knows exactly the enrolled keys."""
    try:
        check_health(folder)
    except FederationError:
        return False
    from mien_server.control import Control  # seconds to load, and not needed where no server runs

    with Control(folder) as control:
        register(folder, control)
    return True
