"""The journal: followed while it is written, and its writer's death is noticed."""

import subprocess
import sys
from pathlib import Path

from mien_server.runs.journal import Journal, JournalReader


def test_events_are_read_once_and_in_order(tmp_path: Path) -> None:
    journal, reader = Journal(tmp_path), JournalReader(tmp_path)
    journal.write("started", run="r", path=tmp_path)
    journal.write("round", ccc=float("nan"), sites=("a", "b"))

    found = list(reader.new())

    assert [event["event"] for event in found] == ["started", "round"]
    assert found[0]["path"] == str(tmp_path)
    assert found[1]["ccc"] is None
    assert found[1]["sites"] == ["a", "b"]
    assert list(reader.new()) == []
    journal.write("finished")
    assert [event["event"] for event in reader.new()] == ["finished"]
    journal.close()


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    file, reader = tmp_path / "rounds.jsonl", JournalReader(tmp_path)
    assert list(reader.new()) == []
    file.write_bytes(b'{"event": "a"}\n{"eve')
    assert [event["event"] for event in reader.new()] == ["a"]
    with file.open("ab") as more:
        more.write(b'nt": "b"}\n')
    assert [event["event"] for event in reader.new()] == ["b"]


WRITE = """
import pathlib, sys
from mien_server.runs.journal import Journal
journal = Journal(pathlib.Path(sys.argv[1]))
journal.write("started")
print("written", flush=True)
sys.stdin.read()
"""


def test_a_writer_that_was_killed_is_noticed(tmp_path: Path) -> None:
    reader = JournalReader(tmp_path)
    assert not reader.is_written()
    with subprocess.Popen(
        [sys.executable, "-c", WRITE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        assert reader.is_written()
        writer.kill()
    assert not reader.is_written()
    assert [event["event"] for event in reader.new()] == ["started"]
