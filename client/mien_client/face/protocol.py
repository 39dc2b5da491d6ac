"""What the agent and its face process say to each other: fixed-size requests in, numbers out.

Enters the face process: requests that name a slot of shared memory, never a path or an address. Leaves
it: replies of bounded size. Never leaves: pixels; no reply has room for a picture.
"""

import struct
from typing import Final, Literal

from mien_common.schema import STATIC_CHANNELS

MOST_SLOTS: Final = 8
_LEAST_SLOTS: Final = 3
_RING_BYTES: Final = 64 * 1024 * 1024


def slots_of(slot_bytes: int) -> int:
    """Frames in flight, for frames of up to ``slot_bytes``: fewer of those that take much memory."""
    return min(MOST_SLOTS, max(_LEAST_SLOTS, _RING_BYTES // max(slot_bytes, 1)))


REQUEST: Final = struct.Struct("<BBqII")
"""Kind, slot, time stamp in ms, height, width."""
BEGIN, FRAME = 1, 2
"""A new recording starts here; look at the frame in a slot. BEGIN is not answered."""

REPLY: Final = struct.Struct("<BI")
"""Kind, length of the payload that follows."""
READY, OBSERVED, LANDMARKS, FAILED = 1, 2, 3, 4
OBSERVATION_HEAD: Final = struct.Struct("<BI")
OBSERVATION: Final = struct.Struct(f"{OBSERVATION_HEAD.format}{len(STATIC_CHANNELS)}f")
"""State, which face, values."""
LANDMARKS_BYTES: Final = 478 * 3 * 4
PAYLOAD_LIMIT_BYTES: Final = 64 * 1024

Outcome = Literal["action_units", "landmarks"]
