"""Connections to PostgreSQL that wait for an answer only so long.

A database that is stopped says so. One whose machine lost its power or its network, or hangs, says nothing,
and a question to it would be waited for until TCP gives up, after a quarter of an hour, or for ever.
"""

import time
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Engine, event

ANSWER_S: Final = 10.0
"""How long a question of a reader is waited for; the slowest of ours takes a fraction of a second."""
POLL_S: Final = 0.1

_Answer = TypeVar("_Answer")


class PatientConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that is closed once a question was open for :data:`ANSWER_S`."""

    def wait(
        self,
        gen: PQGen[_Answer],
        interval: float = POLL_S,
        timeout: float | None = None,
    ) -> _Answer:
        """What psycopg calls for everything that goes over the connection."""
        longest_s = ANSWER_S if timeout is None else min(timeout, ANSWER_S)
        end = time.monotonic() + longest_s
        try:
            return super().wait(gen, interval, longest_s)
        except psycopg.OperationalError as error:
            if time.monotonic() < end:
                raise
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {longest_s:.0f} s") from error


def be_patient(engine: Engine) -> None:
    """Let ``engine`` make such connections."""

    def connect(_dialect: Any, _record: Any, arguments: Any, named: Any) -> PatientConnection:
        return PatientConnection.connect(*arguments, **named)

    event.listen(engine, "do_connect", connect)
