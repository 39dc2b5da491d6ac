"""Asks the SuperLink who is there, in a thread: an answer may take long, and journals should not wait for it.

Enters: the server's folder. Leaves: the newest answer.
"""

import logging
import threading
from typing import TYPE_CHECKING, Final

from mien_common.errors import MienError
from mien_server.folder import ServerFolder

if TYPE_CHECKING:
    from mien_server.control import NodeStanding

POLL_S: Final = 2.0

log = logging.getLogger(__name__)


class Poller:
    """A thread that asks every two seconds."""

    def __init__(self, folder: ServerFolder) -> None:
        self._folder = folder
        self._ended = threading.Event()
        self._answer: list[NodeStanding] | None = None
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def stop(self) -> None:
        """Poll no more; a question that is still open is not waited for."""
        self._ended.set()

    def answer(self) -> "list[NodeStanding] | None":
        """What the SuperLink said last; None where it did not answer, or was not asked yet."""
        return self._answer

    def _run(self) -> None:
        from mien_server.control import Control  # seconds to load

        while not self._ended.is_set():
            try:
                with Control(self._folder) as control:
                    while not self._ended.is_set():
                        self._answer = control.nodes()
                        self._ended.wait(POLL_S)
            except (MienError, OSError) as error:  # OSError: the certificate is being exchanged
                log.debug("event=superlink_silent reason=%s", error)
                self._answer = None
                self._ended.wait(POLL_S)
