"""Whether a run could begin now: asked before it is put into the queue.

Enters: its settings. Leaves: nothing, or why not; and every enrolled key is known to the SuperLink.
"""

from mien_common.errors import FederationError
from mien_server.control import Control
from mien_server.folder import ServerFolder
from mien_server.membership.enrolment import read_sites, register
from mien_server.runs.settings import RunSettings


def check_ready(folder: ServerFolder, settings: RunSettings) -> None:
    """Raise FederationError where no server answers, or fewer sites are enrolled than the quorum."""
    enrolled = len(read_sites(folder))
    if enrolled < settings.quorum:
        raise FederationError(
            f"the quorum is {settings.quorum} but only {enrolled} sites are enrolled. "
            "Let more in (mien server invite), or give a smaller --quorum."
        )
    with Control(folder) as control:
        register(folder, control)
