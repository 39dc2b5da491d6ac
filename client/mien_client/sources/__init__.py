"""Where frames come from: a file, a folder of pictures, a camera, a network stream, standard input.

Enters: what a person wrote to name a source. Leaves: :class:`~mien_client.frames.Frame` in memory, one
at a time, for the face process. Never leaves: a pixel, to any disk; a camera's password, to anything.

    with open_source("film.mp4") as source:
        for frame in source.frames():
            ...
"""

from .opening import ADDRESS_FOR_FILE, Spec, is_address, needs_network, open_source
from .raw_frames import RawFormat
from .source import Say, Source

__all__ = [
    "ADDRESS_FOR_FILE",
    "RawFormat",
    "Say",
    "Source",
    "Spec",
    "is_address",
    "needs_network",
    "open_source",
]
