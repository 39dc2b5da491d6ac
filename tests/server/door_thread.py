"""The real enrolment door, with TLS, in a thread of the tests: only the SuperLink behind it is made up."""

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mien_common.errors import FederationError
from mien_server.folder import ServerFolder
from mien_server.web.door import door_server
from mien_server.web.enrolment_app import EnrolmentDoor
from mien_server.web.rate_limit import WrongTries

from .listener_thread import running


def now() -> dt.datetime:
    """The time, in UTC."""
    return dt.datetime.now(dt.UTC)


class SuperLink:
    """Stands for the registration with a SuperLink; ``failures`` times it is not there."""

    def __init__(self) -> None:
        self.failures = 0
        self.registered = 0

    def register(self) -> None:
        """Register, or say that nobody is there."""
        if self.failures:
            self.failures -= 1
            raise FederationError("no server answers at 127.0.0.1")
        self.registered += 1


@contextmanager
def open_door(
    folder: ServerFolder,
    superlink: SuperLink | None = None,
    clock: Callable[[], dt.datetime] = now,
    tries: WrongTries | None = None,
) -> Iterator[None]:
    """The door of ``folder``, on its enrol_port, until the block ends."""
    register = (superlink or SuperLink()).register
    door = EnrolmentDoor(folder, register, clock, tries)
    try:
        with running(door_server(folder, door)):
            yield
    finally:
        door.refusals.flush()
