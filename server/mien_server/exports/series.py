"""A round as named numbers, for tools that draw curves.

Enters: a ``round`` event of a run's journal. Leaves: ``{"ccc/valence_pooled": 0.31, …}``; what is not known,
or is undefined, is left out.
"""

from dataclasses import dataclass
from typing import Final

from mien_server.history.journal_rows import SECONDS, TARGETS, Row, RunSoFar, count, run_rows
from mien_server.runs.journal import Event

MOST_SITES: Final = 50
"""In a round of more sites, none has curves of its own: nobody could read them, and they fill the disk."""


@dataclass(frozen=True)
class RoundValues:
    """One round."""

    round: int
    time_s: float
    """When it was done, Unix time."""
    values: dict[str, float]


def round_values(run: str, event: Event) -> RoundValues | None:
    """The numbers of a round; None for an event of another kind.

    Raises
    ------
    InputError
        The event lacks a part.
    """
    if event["event"] != "round":
        return None
    rows = run_rows(run, event, RunSoFar(), "")
    if rows.round is None:
        return None
    found = _of_round(rows.round) | {"round/attempts": count(event.get("attempts"))}
    if len(rows.site_rounds) <= MOST_SITES:
        for row in rows.site_rounds:
            found |= _of_site(row)
    return RoundValues(
        round=rows.round["round"],
        time_s=rows.round["time"].timestamp(),
        values={name: float(value) for name, value in found.items() if value is not None},
    )


def _of_round(row: Row) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for target in TARGETS:
        found |= {
            f"ccc/{target}_pooled": row[f"{target}_pooled"],
            f"ccc/{target}_mean_over_recordings": row[f"{target}_mean"],
            f"ccc/{target}_worst_site": row[f"{target}_worst"],
            f"ccc/{target}_spread": row[f"{target}_spread"],
        }
    found |= {
        "loss/mean": row["loss_mean"],
        "loss/worst_site": row["loss_worst"],
        "loss/spread": row["loss_spread"],
    }
    found |= {f"seconds/{phase}": row[f"{phase}_s"] for phase in SECONDS}
    return found | {
        "bytes/up": row["bytes_up"],
        "bytes/down": row["bytes_down"],
        "round/frames": row["frames"],
        "round/sites_asked": row["sites_asked"],
        "round/sites_answered": row["sites_answered"],
        "privacy/epsilon": row["epsilon"],
    }


def _of_site(row: Row) -> dict[str, float | None]:
    names = (
        *("frames", "loss", "update_norm", "seconds"),
        *("bytes_up", "bytes_down", "valence_ccc", "arousal_ccc"),
    )
    return {f"site/{row['site']}/{name}": row[name] for name in names}
