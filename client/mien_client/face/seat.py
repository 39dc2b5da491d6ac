"""One face process for many recordings: starting one takes seconds, so it is kept.

Enters: the size of the next recording's frames. Leaves: a face process, new or used, that takes them.
"""

from types import TracebackType
from typing import Self

from .process import FaceProcess


class FaceSeat:
    """Keeps a face process for one thread. It makes room for larger frames by itself.

    ``confined`` is False only where the user said ``--allow-unconfined-face-process``.
    """

    def __init__(self, confined: bool = True) -> None:
        self._confined = confined
        self._process: FaceProcess | None = None
        self.ever_taken = False
        """Whether a face process could be started at all."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def take(self, height: int, width: int) -> FaceProcess:
        """A face process for the next recording, whose frames are ``height`` × ``width`` pixels.

        Raises
        ------
        ConfinementError
            It cannot be confined.
        """
        if self._process is None:
            self._process = FaceProcess(height, width, confined=self._confined)
            self.ever_taken = True
        return self._process

    @property
    def process(self) -> FaceProcess | None:
        """The face process, once there is one."""
        return self._process

    def leave(self) -> None:
        """End the face process; the next recording gets a new one."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def end_from_outside(self) -> None:
        """End the process under a thread that waits for it, so that the thread notices."""
        process = self._process
        if process is not None:
            process.stop()
