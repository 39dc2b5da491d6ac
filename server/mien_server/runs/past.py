"""What a run that goes on must know of itself beyond its last checkpoint, from its journal."""

from dataclasses import dataclass

from mien_server.runs.journal import JournalReader


@dataclass(frozen=True)
class Past:
    """What the journal tells of a run's earlier lives."""

    began: bool
    told: int
    """The last round that the journal tells of."""
    tries: int
    """How often the round after that stayed below its quorum."""
    there: frozenset[str]
    """Sites that were online when the last round began."""


def read_past(journal: JournalReader) -> Past:
    """Everything up to now; nothing of a run that is new."""
    began, told, tries, there = False, 0, 0, frozenset[str]()
    for event in journal.new():
        match event["event"]:
            case "started" | "resumed":
                began = True
            case "round_started":
                there = frozenset(event["online"])
            case "round_failed":
                tries += 1
            case "round":
                told, tries = event["round"], 0
    return Past(began, told, tries, there)
