"""Raw frames from a pipe, for tests and for programs that decode by themselves.

Enters: blue, green, red bytes, row after row, frame after frame, of a size and rate that were said
before. Leaves: :class:`~mien_client.frames.Frame`, one at a time. Never leaves: a pixel, to any disk.
"""

import fcntl
import os
import re
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from mien_common.errors import SettingsError, VideoError

from ..frames import Frame
from .source import FASTEST_HZ, LONGEST_S, LONGEST_SIDE

ROOMIEST_PIPE_BYTES: Final = 1024 * 1024
"""What Linux lets an ordinary user have; a frame of 640×480 takes 900 KiB."""
PATIENCE_S: Final = 10.0
"""A pipe that sends nothing for this long is taken for forgotten."""


@dataclass(frozen=True)
class RawFormat:
    """Size and rate of raw frames, which do not say it themselves."""

    width: int
    height: int
    rate_hz: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``640x480@30``.

        Raises
        ------
        SettingsError
            It is not written like that, or out of range.
        """
        found = re.fullmatch(r"([0-9]{1,5})[x×]([0-9]{1,5})@([0-9]{1,4}(?:\.[0-9]{1,6})?)", text.strip())
        if found is None:
            raise SettingsError(f"--raw {text!r} is not a size and a rate. Write it like 640x480@30.")
        width, height, rate_hz = int(found[1]), int(found[2]), float(found[3])
        if not (1 <= width <= LONGEST_SIDE and 1 <= height <= LONGEST_SIDE and 0 < rate_hz <= FASTEST_HZ):
            raise SettingsError(
                f"--raw {text}: from 1 to {LONGEST_SIDE} pixels a side and up to {FASTEST_HZ:.0f} frames "
                "a second work."
            )
        return cls(width, height, rate_hz)


@dataclass(frozen=True)
class RawFrames:
    """Frames that somebody writes into a pipe; the number of a frame and the rate give its time."""

    descriptor: int
    height: int
    width: int
    rate_hz: float
    patience_s: float
    name: str = "stdin"
    live: bool = False
    expected_frames: int = 0

    def frames(self) -> Iterator[Frame]:
        """Every frame in order.

        Raises
        ------
        VideoError
            Nothing comes for a while, a frame is cut, or there is none.
        """
        bgr = np.zeros((self.height, self.width, 3), np.uint8)
        count = 0
        try:
            while self._fill(bgr.reshape(-1).data, count):
                if count / self.rate_hz > LONGEST_S:
                    raise VideoError("standard input goes on for more than a day. Send it in pieces.")
                yield Frame(count / self.rate_hz, bgr)
                count += 1
        finally:
            bgr[...] = 0
        if count == 0:
            raise VideoError("no frame came on standard input. Pipe raw BGR frames into it.")

    def _fill(self, room: memoryview, count: int) -> bool:
        """Fill one frame; False where the pipe ends before it."""
        filled = 0
        while filled < len(room):
            self._wait(count)
            try:
                got = os.readv(self.descriptor, [room[filled:]])
            except OSError as error:
                raise VideoError(f"standard input cannot be read: {error.strerror}.") from error
            if got == 0 and filled:
                raise VideoError(
                    f"standard input ends in the middle of frame {count + 1}: {filled} of {len(room)} bytes. "
                    f"Are its frames {self.width}×{self.height} with 3 bytes a pixel?"
                )
            if got == 0:
                return False
            filled += got
        return True

    def _wait(self, count: int) -> None:
        if not select.select([self.descriptor], [], [], self.patience_s)[0]:
            raise VideoError(
                f"standard input sent nothing for {self.patience_s:g} s after {count} frames. "
                "Check the program that writes into it, and close the pipe at the end."
            )


@contextmanager
def open_raw_frames(
    form: RawFormat, descriptor: int = 0, patience_s: float = PATIENCE_S
) -> Iterator[RawFrames]:
    """Read raw frames from an open descriptor, standard input when not said otherwise.

    Raises
    ------
    VideoError
        It is a terminal, or closed.
    """
    try:
        terminal = os.isatty(descriptor)
        os.fstat(descriptor)
    except OSError as error:
        raise VideoError(f"standard input cannot be read: {error.strerror}.") from error
    if terminal:
        raise VideoError("standard input is the keyboard. Pipe raw BGR frames into it.")
    # A frame in 16 pieces is 16 turns between its writer and us; a pipe that holds it whole needs one.
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):  # a file, or more than an ordinary user may have: then as it is
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, ROOMIEST_PIPE_BYTES)
    yield RawFrames(descriptor, form.height, form.width, form.rate_hz, patience_s)
