"""The memory that frames pass through: shared without a name, overwritten after use, and not left about.

Enters: RGB frames, written into slots by the agent. Leaves: views of the same memory in the face
process. Never leaves: a pixel, to any disk; the memory belongs to these two processes alone.
"""

import ctypes
import mmap
import os
from typing import Final

import numpy as np
from numpy.typing import NDArray

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long),
)
_MAP_FAILED: Final = ctypes.c_void_p(-1).value

# From glibc's malloc.h.
_M_MMAP_THRESHOLD: Final = -3
_M_PERTURB: Final = -6
_LARGEST_ON_HEAP_BYTES: Final = 64 * 1024
_FILLING: Final = 0xA5


def overwrite_freed_memory() -> None:
    """Have the C library overwrite, or give back to the kernel, whatever this process frees from now on.

    OpenCV and FFmpeg decode into buffers of their own and free them as they are, and glibc keeps freed
    memory: whole planes of luminance were found there after an ingest. Now large blocks are unmapped and
    small ones filled. It costs no time that can be measured. C libraries other than glibc know neither.
    """
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_ON_HEAP_BYTES)
        mallopt(_M_PERTURB, _FILLING)


def anonymous_memory(size_bytes: int) -> int:
    """A descriptor of fresh, zeroed memory without a name; pages are taken as they are first written."""
    if hasattr(os, "memfd_create"):
        memory = os.memfd_create("mien-frames")
    else:  # elsewhere than on Linux, where a face process runs unconfined or not at all
        from multiprocessing.shared_memory import SharedMemory

        named = SharedMemory(create=True, size=size_bytes)
        named.unlink()
        memory = os.dup(named._fd)  # type: ignore[attr-defined]  # the one way to a descriptor
        named.close()
        return memory
    os.ftruncate(memory, size_bytes)
    return memory


def map_and_close(memory: int, size_bytes: int) -> NDArray[np.uint8]:
    """The memory behind a descriptor as (size_bytes,), for the rest of this process; the descriptor goes.

    By the C library: Python's ``mmap`` keeps a copy of the descriptor for as long as the mapping lives.

    Raises
    ------
    OSError
        The memory cannot be mapped.
    """
    address = _libc.mmap(None, size_bytes, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, memory, 0)
    os.close(memory)
    if address is None or address == _MAP_FAILED:
        raise OSError(ctypes.get_errno(), "the shared frames cannot be mapped")
    return np.ctypeslib.as_array((ctypes.c_uint8 * size_bytes).from_address(address))
