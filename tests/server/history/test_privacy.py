"""Nothing about a person is stored: names of sites, and numbers. Every column is on the list here."""

from sqlalchemy import JSON, Boolean, Integer, String
from sqlalchemy.types import BigInteger, Float

from mien_server.folder import ServerFolder
from mien_server.history.tables import Base, Moment

from .made_history import make_history

NUMBERS = {
    "runs": {"number", "rounds", "rounds_done", "quorum", "resumed", "valence_ccc", "arousal_ccc"},
    "rounds": {
        *{
            "round",
            "attempts",
            "sites_asked",
            "sites_answered",
            "frames",
            "bytes_up",
            "bytes_down",
            "epsilon",
        },
        *{"loss_mean", "loss_worst", "loss_spread"},
        *{f"{part}_s" for part in ("wait", "train", "transfer", "aggregate", "evaluate", "total")},
        *{f"valence_{rule}" for rule in ("pooled", "mean", "worst", "spread")},
        *{f"arousal_{rule}" for rule in ("pooled", "mean", "worst", "spread")},
    },
    "site_rounds": {
        *{"round", "asked", "answered", "frames", "loss", "update_norm", "seconds"},
        *{"bytes_up", "bytes_down", "valence_ccc", "arousal_ccc"},
    },
    "sites": {"round"},
    "events": {"id", "round"},
    "releases": {"round", "valence_ccc", "arousal_ccc", "is_latest"},
    "server": {"id"},
    "sources": {"bytes"},
}
MOMENTS = {
    "runs": {"asked", "started", "ended", "not_before"},
    "rounds": {"time"},
    "sites": {"last_seen", "round_time", "error_time"},
    "events": {"time"},
    "releases": {"created"},
    "server": {"created", "seen"},
}
WORDS = {
    # Names that the operator gave to sites; names that Mien gave to runs, rules, kinds, journals and schemas.
    "runs": {"run", "state", "rule"},
    "rounds": {"run", "loss_worst_site", "valence_worst_site", "arousal_worst_site"},
    "site_rounds": {"run", "site"},
    "sites": {"name", "presence", "run"},
    "events": {"kind", "run", "site", "source"},
    "releases": {"version", "run", "schema_name"},
    "sources": {"name"},
    # Of a site's machine: cpu or cuda, and the version of Mien.
    "site_rounds ": {"device", "version"},
    "sites ": {"device", "version"},
    # Why something failed: Mien's own sentences, and of a site the kind of an error, one word.
    "runs ": {"reason"},
    "site_rounds  ": {"error", "evaluation_error"},
    "sites  ": {"error"},
    "events ": {"text"},
    # Settings of a run, runs that it waits for, sizes of a release's files.
    "runs  ": {"settings", "behind"},
    "releases ": {"files"},
    # Of keys, files and the server itself.
    "sites   ": {"fingerprint"},
    "releases  ": {"sums_sha256"},
    "server": {"folder_id"},
    "sources ": {"head", "tail"},
}


def test_every_column_is_known_here() -> None:
    allowed = {
        (table.strip(), column)
        for kind in (NUMBERS, MOMENTS, WORDS)
        for table in kind
        for column in kind[table]
    }
    there = {(table.name, column.name) for table in Base.metadata.sorted_tables for column in table.columns}
    assert there - allowed == set(), "a new column: does it say anything about a person?"
    assert allowed - there == set()


def test_numbers_are_numbers_and_moments_moments() -> None:
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            if column.name in NUMBERS.get(table.name, set()):
                assert isinstance(column.type, Integer | BigInteger | Float | Boolean), column
            elif column.name in MOMENTS.get(table.name, set()):
                assert isinstance(column.type, Moment), column
            else:
                assert isinstance(column.type, String | JSON), column


def test_nothing_of_the_recordings_or_of_secrets_is_in_the_file(folder: ServerFolder) -> None:
    """The bytes of a whole history: no address, no path of the server, no key."""
    with make_history(folder):
        pass
    content = b"".join(path.read_bytes() for path in folder.state.glob("history.db*"))
    assert b"lab-2" in content
    for secret in (str(folder.path).encode(), b"127.0.0.1", b"ecdsa-sha2", b"PRIVATE KEY", b"AU01_r"):
        assert secret not in content
