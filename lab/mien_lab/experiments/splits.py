"""Who trains, at which site, and who is tested: always whole people, or whole recordings of a person.

Enters: a corpus and the split its comparison names. Leaves: folds, by names alone; no value is looked at, so
nothing about a test person can decide who is one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mien_common.errors import SettingsError
from mien_lab.corpora.corpus import Corpus

from .config import Split


@dataclass(frozen=True)
class Fold:
    """One way of dividing a corpus: recordings that sites train on, and recordings that are tested."""

    name: str
    sites: Mapping[str, tuple[str, ...]]
    """Site → its training recordings."""
    test: tuple[str, ...]
    """Recordings that nothing is fitted to."""
    test_site: Mapping[str, str | None]
    """Test recording → the site it belongs to; None for a person whom no site has."""

    def only(self, site: str) -> "Fold":
        """What ``site`` alone has: its own training recordings, and no other's.

        It is tested on its own test recordings where it has some, else on those of people whom no site has.
        """
        own = tuple(name for name in self.test if self.test_site[name] == site)
        strangers = tuple(name for name in self.test if self.test_site[name] is None)
        test = own or strangers
        return Fold(f"{self.name}@{site}", {site: self.sites[site]}, test, dict.fromkeys(test, site))


def folds(corpus: Corpus, split: Split) -> tuple[Fold, ...]:
    """Every fold of ``split``, in an order that the corpus and the split alone decide.

    ==============  ==========================================================================================
    leave-one-out   a fold per participant, who is its test
    k-fold          participants in random order (``split.seed``), dealt into ``split.folds`` test groups
    official        one fold: the release's train people train, its dev people are tested. Its hidden test has
                    no ratings and takes no part.
    sessions        one fold: each participant's last recording is tested, the others train
    ==============  ==========================================================================================

    Sites are groups of ``participants_per_site`` people who train, in the corpus's order, and the same in
    each fold: where some of a site's people are tested, the others train without them. A site of one person
    has that person's name, a larger one is called ``site-01`` and so on.

    Raises
    ------
    SettingsError
        The corpus does not allow the split.
    """
    recordings = _recordings_of(corpus)
    people = corpus.participants
    if split.kind == "sessions":
        return (_sessions(corpus.name, recordings, split),)
    if split.kind == "official":
        train, dev = _official(corpus)
        return (_fold("official", recordings, _sites(train, split), dev),)
    if len(people) < 2:
        raise SettingsError(
            f"split.kind: {corpus.name} holds {len(people)} participant; a split by participant needs two. "
            'Add participants, or split.kind = "sessions".'
        )
    sites = _sites(people, split)
    if split.kind == "leave-one-out":
        return tuple(_fold(f"without-{person}", recordings, sites, (person,)) for person in people)
    count = split.folds or 0
    if not 2 <= count <= len(people):
        raise SettingsError(
            f"split.folds: {count} folds need as many participants, and {corpus.name} holds {len(people)}. "
            f"Give 2 to {len(people)}."
        )
    order = np.random.default_rng(split.seed).permutation(len(people))
    width = len(str(count))
    return tuple(
        _fold(
            f"fold-{number + 1:0{width}d}",
            recordings,
            sites,
            tuple(people[index] for index in sorted(order[number::count])),
        )
        for number in range(count)
    )


def _recordings_of(corpus: Corpus) -> dict[str, tuple[str, ...]]:
    """Participant → recordings, both in the corpus's order."""
    return {
        person: tuple(recording.name for recording in corpus.recordings if recording.participant == person)
        for person in corpus.participants
    }


def _sites(people: Sequence[str], split: Split) -> dict[str, tuple[str, ...]]:
    """Site → participants."""
    size = split.participants_per_site
    if size == 1:
        return {person: (person,) for person in people}
    groups = [tuple(people[start : start + size]) for start in range(0, len(people), size)]
    width = max(len(str(len(groups))), 2)
    return {f"site-{number:0{width}d}": group for number, group in enumerate(groups, start=1)}


def _fold(
    name: str,
    recordings: Mapping[str, tuple[str, ...]],
    sites: Mapping[str, tuple[str, ...]],
    tested: Sequence[str],
) -> Fold:
    """The fold that tests the people in ``tested`` and trains the others; an empty site is none."""
    training = {
        site: tuple(name for person in people if person not in tested for name in recordings[person])
        for site, people in sites.items()
    }
    test = tuple(name for person in tested for name in recordings[person])
    return Fold(name, {site: names for site, names in training.items() if names}, test, dict.fromkeys(test))


def _official(corpus: Corpus) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The release's train and dev people."""
    train = tuple(person for person in corpus.participants if corpus.partitions.get(person) == "train")
    dev = tuple(person for person in corpus.participants if corpus.partitions.get(person) == "dev")
    if not train or not dev:
        raise SettingsError(
            f'split.kind: {corpus.name} has no official train and dev people, so "official" cannot be. '
            'Choose "leave-one-out" or "k-fold".'
        )
    unknown = [person for person in corpus.participants if person not in corpus.partitions]
    if unknown:
        raise SettingsError(
            f"split.kind: {corpus.name} does not say whether {unknown[0]} is train or dev. "
            "Take that person's files away, or split by participant."
        )
    return train, dev


def _sessions(corpus: str, recordings: Mapping[str, tuple[str, ...]], split: Split) -> Fold:
    """Everyone trains, and everyone's last recording is tested."""
    for person, names in recordings.items():
        if len(names) < 2:
            raise SettingsError(
                f'split.kind: "sessions" tests each participant\'s last recording, and {person} of {corpus} '
                "has one only. Add another, leave that person out, or split by participant."
            )
    sites = _sites(tuple(recordings), split)
    site_of = {person: site for site, people in sites.items() for person in people}
    return Fold(
        "last-recordings",
        {
            site: tuple(name for person in people for name in recordings[person][:-1])
            for site, people in sites.items()
        },
        tuple(names[-1] for names in recordings.values()),
        {names[-1]: site_of[person] for person, names in recordings.items()},
    )
