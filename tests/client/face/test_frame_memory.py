"""Promise 1, in the agent's own process: after an ingest no piece of a frame is left, in memory or a file."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien_client.face.frame_memory import anonymous_memory, map_and_close
from mien_client.site import Site
from mien_client.sources import open_source

Image = NDArray[np.uint8]

PIECE_BYTES = 48
WORD_BYTES = 8
CHUNK_BYTES = 1 << 20


class Pieces:
    """Finds pieces of pictures' rows in any memory, wherever they start.

    Of a piece that lies at any address, one whole aligned word is piece[k:k+8] for a k below 8. Those words
    are looked up for every word of the memory; where one is found the whole piece is compared.
    """

    def __init__(self, rows: Iterator[bytes]) -> None:
        self._by_word: dict[int, tuple[bytes, int]] = {}
        for row in rows:
            for start in range(0, len(row) - PIECE_BYTES, PIECE_BYTES):
                piece = row[start : start + PIECE_BYTES]
                if len(set(piece)) < PIECE_BYTES // 3:  # plain background is no evidence
                    continue
                for shift in range(WORD_BYTES):
                    word = piece[shift : shift + WORD_BYTES]
                    self._by_word[int.from_bytes(word, "little")] = (piece, shift)
        self._words = np.array(sorted(self._by_word), np.uint64)

    def __len__(self) -> int:
        return len(self._words) // WORD_BYTES

    def found_in(self, memory: bytes) -> list[int]:
        """Where in ``memory``, which starts at an aligned address, a piece begins."""
        words = np.frombuffer(memory[: len(memory) // WORD_BYTES * WORD_BYTES], np.uint64)
        if not words.any():
            return []
        near = np.searchsorted(self._words, words)
        candidates = np.flatnonzero(self._words[np.minimum(near, len(self._words) - 1)] == words)
        found = []
        for place in candidates.tolist():
            piece, shift = self._by_word[int(words[place])]
            start = place * WORD_BYTES - shift
            if start >= 0 and memory[start : start + PIECE_BYTES] == piece:
                found.append(start)
        return found


def pieces_of(films: list[Path]) -> Pieces:
    """Of some frames some rows, as blue-green-red, as red-green-blue, and of one colour alone."""

    def rows() -> Iterator[bytes]:
        for film in films:
            with open_source(film) as source:
                for number, frame in enumerate(source.frames()):
                    if number % 12:
                        continue
                    for row in frame.bgr[::11]:
                        yield row.tobytes()
                        yield row[:, ::-1].tobytes()
                        yield row[:, 1].tobytes()  # of a grey film: the decoder's luminance

    return Pieces(rows())


def left_in_process(pid: int, pieces: Pieces) -> list[str]:
    """Names of the process's memory regions in which a piece of a picture lies."""
    found = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, _, _, _, *name = line.split(maxsplit=5)
            start, end = (int(part, 16) for part in span.split("-"))
            if rights[1] != "w":  # nobody wrote a frame there
                continue
            places = 0
            for at in range(start, end, CHUNK_BYTES):
                with suppress(OSError):  # reserved, but nothing there
                    content = os.pread(memory.fileno(), min(CHUNK_BYTES + PIECE_BYTES, end - at), at)
                    places += len(pieces.found_in(content))
            if places:
                found.append(f"{(name or ['anonymous'])[0]} {span}: {places} pieces")
    return found


AGENT = """
    import sys
    from pathlib import Path
    from mien_client.ingest import ingest
    from mien_client.site import open_site
    from mien_client.sources import open_source

    site, *films = map(Path, sys.argv[1:])
    for film in films:
        ingest(open_site(site), film, None, held_out=False, csv=True, progress=lambda done, total: None)
    print("done", flush=True)
    sys.stdin.readline()
    with open_source(films[0]) as source:
        frames = source.frames()
        held = next(frames).bgr.copy()
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def films(
    tmp_path_factory: pytest.TempPathFactory, astronaut: Image, make_video: Callable[..., Path]
) -> list[Path]:
    """A second and a half of a moving face in colour, of the same in grey, and of that again but small.

    Whole frames of the small one fit into pieces of memory that no C library gives back by itself.
    """
    folder = tmp_path_factory.mktemp("films")
    colour = [np.roll(astronaut, 2 * number, axis=1) for number in range(38)]
    grey = [
        np.asarray(cv2.cvtColor(cv2.cvtColor(one, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)) for one in colour
    ]
    small = [np.asarray(cv2.resize(one[:, 120:], (200, 184), interpolation=cv2.INTER_AREA)) for one in grey]
    named = {"colour": colour, "grey": grey, "small": small}
    return [make_video(folder / f"{name}.avi", frames) for name, frames in named.items()]


def test_after_an_ingest_no_piece_of_a_frame_is_left_in_the_agent_or_in_any_file(
    films: list[Path], site: Site, tmp_path: Path
) -> None:
    (tmp_path / "tmp").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path / "tmp"), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", textwrap.dedent(AGENT), str(site.folder), *map(str, films)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        pieces = pieces_of(films)
        assert len(pieces) > 2000
        assert agent.stdout.readline() == "done\n"
        left = left_in_process(agent.pid, pieces)
        agent.stdin.write("hold a frame\n")
        agent.stdin.flush()
        assert agent.stdout.readline() == "held\n"
        held = left_in_process(agent.pid, pieces)
    assert held, "the search does not find a frame that is there"
    assert left == []
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len([path for path in written if path.name == "features.parquet"]) == len(films)
    assert [path for path in written if pieces.found_in(path.read_bytes())] == []


def test_the_search_finds_a_piece_at_any_address(astronaut: Image) -> None:
    pieces = Pieces(row.tobytes() for row in astronaut[200:210])
    row = astronaut[205].tobytes()
    for offset in range(16):
        memory = bytes(4096 + offset) + row + bytes(4096)
        assert pieces.found_in(memory)
    assert not pieces.found_in(bytes(4096) + bytes(range(256)) * 16)


def test_shared_frames_are_mapped_without_a_descriptor() -> None:
    """Writing on one side is reading on the other, and the descriptor is gone."""
    memory = anonymous_memory(8192)
    other = os.dup(memory)
    ours, theirs = map_and_close(memory, 8192), map_and_close(other, 8192)
    ours[4000:4004] = (1, 2, 3, 4)
    assert theirs[3999:4005].tolist() == [0, 1, 2, 3, 4, 0]
    for descriptor in (memory, other):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_memory_without_a_name_where_there_is_no_memfd(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on other systems than Linux: shared memory whose name is taken away at once."""
    monkeypatch.delattr(os, "memfd_create")
    memory = anonymous_memory(8192)
    assert os.fstat(memory).st_nlink == 0
    assert str(Path(f"/proc/self/fd/{memory}").readlink()).endswith(" (deleted)")
    shared = map_and_close(memory, 8192)
    shared[:] = 7
    assert int(shared.sum()) == 7 * 8192


def test_freed_memory_is_overwritten_or_given_back() -> None:
    code = """
        import ctypes
        from mien_client.face.frame_memory import overwrite_freed_memory

        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        libc.free.argtypes = [ctypes.c_void_p]

        def freed(size):
            block, _stays = libc.malloc(ctypes.c_size_t(size)), libc.malloc(ctypes.c_size_t(size))
            ctypes.memset(block, 0x33, size)
            libc.free(block)
            return block

        overwrite_freed_memory()
        print(ctypes.string_at(freed(5000) + 1000, 8).hex())
        large = freed(200_000) + 100_000
        spans = [line.split()[0].split("-") for line in open("/proc/self/maps")]
        print(any(int(start, 16) <= large < int(end, 16) for start, end in spans))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["a5" * 8, "False"], done.stderr
