"""A round in one line: where its time went, in units that are read at a glance, on one line of a terminal."""

from typing import Any

import pytest

from mien_server.commands.event_lines import line_of, time_shares


def a_round(**changes: Any) -> dict[str, Any]:
    seconds = {"wait": 0.0, "train": 0.8, "transfer": 0.25, "aggregate": 0.05, "evaluate": 0.15}
    return {
        **{"event": "round", "round": 3, "rounds": 20, "loss": {"mean": 0.5123}},
        "seconds": {**seconds, "total": 1.31},
        "sites": {"answered": ["lab-1", "lab-2"], "failed": {"lab-3": "it went offline"}},
        "evaluated": {"answered": ["lab-1", "lab-2"], "failed": {}},
        "ccc": {"valence": {"pooled": 0.3121}, "arousal": {"pooled": -0.2984}},
        **{"bytes_up": 123_400, "bytes_down": 246_800},
    } | changes


def test_a_round() -> None:
    first, second = line_of(a_round()).split("\n")
    assert first == (
        "round  3/20   1.31 s, 64% train  2/3 sites  loss 0.512  "
        "pooled CCC valence 0.312 arousal -0.298  up/down 123/247 kB"
    )
    assert second.split() == ["lab-3:", "it", "went", "offline"]


@pytest.mark.parametrize(
    ("up", "down", "shown"),
    [(546_000, 1_093_000, "0.5/1.1 MB"), (45_600_000, 91_200_000, "46/91 MB"), (900, 5_000, "0.9/5.0 kB")],
)
def test_bytes(up: int, down: int, shown: str) -> None:
    assert line_of(a_round(bytes_up=up, bytes_down=down)).split("\n")[0].endswith(f"up/down {shown}")


def test_nothing_that_is_unknown_is_a_number() -> None:
    unknown = a_round(loss={"mean": None}, ccc={"valence": {"pooled": None}, "arousal": {"pooled": None}})
    assert line_of(unknown).count("  -  ") == 3


def test_where_the_time_went_is_left_out_of_a_line_that_is_long() -> None:
    longest = a_round(
        **{"round": 999, "rounds": 1000},
        seconds={
            "wait": 0.0,
            "train": 1.0,
            "transfer": 601.5,
            "aggregate": 0,
            "evaluate": None,
            "total": 602.5,
        },
        ccc={"valence": {"pooled": -0.312}, "arousal": {"pooled": -0.298}},
    )
    line = line_of(longest).split("\n")[0]
    assert line.startswith("round  999/1000  602.5 s  2/3 sites  loss")
    assert len(line) <= 116


def test_shares_of_several_rounds() -> None:
    """Waiting 10 of 40 seconds, training 30 of them; what took no time is left out."""
    parts = dict.fromkeys(("transfer", "aggregate"), 0.0)
    rounds = [
        a_round(seconds={**parts, "wait": 10.0, "train": 5.0, "evaluate": None, "total": 15.0}),
        {"event": "round_started"},
        a_round(seconds={**parts, "wait": 0.0, "train": 25.0, "evaluate": 0.0, "total": 25.0}),
    ]
    assert time_shares(rounds) == "75% train, 25% wait"
    assert time_shares([]) == ""
    older = a_round(seconds={"total": 3.0, "train": 2.0, "evaluate": 1.0})
    assert time_shares([older]) == "", "it meant something else by train"
