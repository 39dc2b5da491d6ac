"""Notices that a running server's certificate was replaced, so that those who show it can be started again.

Enters: ``server.crt`` and its key, looked at every moment. Leaves: once per new pair, the word that it is
there and that sites will accept it; one that they would not is named in the log and left alone.
"""

import datetime as dt
import logging
import time
from pathlib import Path
from typing import Final

from mien_common.errors import InputError, TrustError
from mien_common.files import read_bounded
from mien_server.certificates import PEM_LIMIT_BYTES, check_certificates

EVERY_S: Final = 1.0

log = logging.getLogger(__name__)


class CertificateWatch:
    """Watches the certificate in ``tls``; what lies there at first is what the server shows."""

    def __init__(self, tls: Path, every_s: float = EVERY_S) -> None:
        self._tls, self._every_s = tls, every_s
        self._decided = self._last = self._pair()
        self._next = time.monotonic() + every_s

    def replaced(self) -> bool:
        """Whether there is another certificate since the last call, and it will do."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + self._every_s
        before, self._last = self._last, self._pair()
        # Key and certificate are two files: only what stays as it is for two looks is a pair.
        if self._last in (self._decided, ()) or self._last != before:
            return False
        self._decided = self._last
        try:
            check_certificates(self._tls, dt.datetime.now(dt.UTC))
        except TrustError as error:
            log.error("event=certificate_not_taken reason=%r", str(error))
            return False
        log.info("event=certificate_replaced file=%s", self._tls / "server.crt")
        return True

    def _pair(self) -> tuple[bytes, ...]:
        """Empty while one is missing: what runs has them in memory."""
        try:
            return tuple(
                read_bounded(self._tls / name, PEM_LIMIT_BYTES) for name in ("server.crt", "server.key")
            )
        except InputError:
            return ()
