"""The state of the server for Prometheus: the same facts as the page's, as numbers with names.

Enters: a :class:`~mien_server.facts.Status`, the last round and the totals of the whole history. Leaves:
an exposition, as text. Names follow Prometheus' conventions: base units, ``_total`` for what only ever
grows. What is not known, or is undefined, has no sample: a gap in a graph, never a 0.

A label never takes more values than there are sites, kinds of events or states, and a run's samples are
those of the run that goes on or ended last: after a thousand runs a scrape is no longer than after one.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from mien_server.facts import (
    CurrentRound,
    RoundFacts,
    RunFacts,
    RunState,
    SiteFacts,
    SitePresence,
    Status,
    TotalFacts,
)
from mien_server.folder import ServerFolder
from mien_server.history.reader import History
from mien_server.status import read_status

ENROLLED: Final = frozenset({"online", "late", "offline", "never seen"})
PRESENT: Final = frozenset({"online", "late"})
PHASES: Final = ("wait", "train", "transfer", "aggregate", "evaluate")

Labels = Mapping[str, str]
Sample = tuple[Labels, float | None]


def read_metrics(
    folder: ServerFolder, history: History, now: dt.datetime, accept: str = ""
) -> tuple[bytes, str]:
    """The text for Prometheus of this moment, and its content type.

    Raises
    ------
    StorageError
        The history's database does not answer.
    """
    status = read_status(folder, history, now)
    last = [] if status.run is None else history.rounds(status.run.run, after=status.run.rounds_done - 1)
    return exposition(status, last[-1] if last else None, history.totals(), accept)


def exposition(
    status: Status, last: RoundFacts | None, totals: TotalFacts, accept: str = ""
) -> tuple[bytes, str]:
    """The text for Prometheus, and its content type.

    Parameters
    ----------
    last : the last round of ``status.run`` that was done; None where there is none.
    accept : the request's ``Accept`` header, by which Prometheus chooses between its two formats.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Facts(status, last, totals))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Facts(Collector):
    """Facts of one moment; made anew for every scrape, so that nothing is kept between two."""

    def __init__(self, status: Status, last: RoundFacts | None, totals: TotalFacts) -> None:
        self._status, self._last, self._totals = status, last, totals

    def collect(self) -> Iterator[Metric]:
        status = self._status
        yield from _server(status)
        yield from _totals(self._totals)
        if status.run is not None:
            yield from _run(status.run)
        if status.now is not None:
            yield from _now(status.now)
        if self._last is not None:
            yield from _round(self._last)
        yield from _sites(status.sites)


def _server(status: Status) -> Iterator[Metric]:
    server = status.server
    yield _gauge(
        "mien_build_info",
        "Version of the server and kind of its database; always 1.",
        [({"version": server.version, "database": server.database}, 1)],
    )
    yield _gauge("mien_server_up", "Whether `mien server up` runs.", [({}, server.up)])
    yield _gauge(
        "mien_server_start_time_seconds", "When it was started, Unix time.", [({}, _unix(server.since))]
    )
    yield _gauge(
        "mien_certificate_expiry_timestamp_seconds",
        "When the server's certificate ends, Unix time.",
        [({}, _unix(server.certificate_ends))],
    )
    yield _gauge(
        "mien_history_behind_seconds",
        "How long ago the history last took up what happened.",
        [({}, server.behind_s)],
    )
    yield _gauge("mien_queue_runs", "Runs that wait for their turn.", [({}, len(status.queue))])
    release = [] if status.latest_release is None else [({"version": status.latest_release}, 1.0)]
    yield _gauge("mien_latest_release_info", "The release that sites should have; always 1.", release)


def _totals(totals: TotalFacts) -> Iterator[Metric]:
    yield _counter("mien_rounds", "Rounds done, over all runs.", [({}, totals.rounds)])
    yield _counter(
        "mien_round_failures",
        "Attempts at a round that stayed below their quorum, over all runs.",
        [({}, totals.events.get("round_failed", 0))],
    )
    yield _counter(
        "mien_received_bytes",
        "Updates and reports that sites sent in rounds that were done, over all runs.",
        [({}, totals.bytes_up)],
    )
    yield _counter(
        "mien_sent_bytes",
        "Models and orders sent to sites in rounds that were done, over all runs.",
        [({}, totals.bytes_down)],
    )
    kinds = [({"kind": kind}, float(count)) for kind, count in sorted(totals.events.items())]
    yield _counter("mien_events", "Lines in the log of events, by kind.", kinds)


def _run(run: RunFacts) -> Iterator[Metric]:
    labels = {"run": run.run}
    yield _gauge(
        "mien_run_info",
        "The run that goes on, or ended last, and its rule; always 1.",
        [({**labels, "rule": run.rule}, 1)],
    )
    yield _gauge(
        "mien_run_state",
        "1 for the state that the run is in, 0 for the others.",
        [({**labels, "state": state}, state == run.state) for state in get_args(RunState)],
    )
    yield _gauge("mien_run_rounds", "Rounds that the run was asked for.", [(labels, run.rounds)])
    yield _gauge("mien_run_rounds_done", "Rounds that the run has done.", [(labels, run.rounds_done)])
    yield _gauge("mien_run_quorum_sites", "Sites that must answer in a round.", [(labels, run.quorum)])
    yield _gauge("mien_run_resumptions", "How often the run was taken up again.", [(labels, run.resumed)])
    yield _gauge(
        "mien_run_start_timestamp_seconds",
        "When the run first began, Unix time.",
        [(labels, _unix(run.started))],
    )
    yield _gauge(
        "mien_run_end_timestamp_seconds", "When the run ended, Unix time.", [(labels, _unix(run.ended))]
    )


def _now(now: CurrentRound) -> Iterator[Metric]:
    labels = {"run": now.run}
    yield _gauge("mien_current_round", "Number of the round that goes on.", [(labels, now.round)])
    yield _gauge(
        "mien_current_round_awaited_sites", "Sites whose answer is awaited.", [(labels, len(now.awaits))]
    )
    yield _gauge(
        "mien_current_round_deadline_timestamp_seconds",
        "When the round's phase ends at the latest, Unix time.",
        [(labels, _unix(now.deadline))],
    )
    yield _gauge(
        "mien_run_left_seconds",
        "Estimated time to the run's end, from its rounds so far.",
        [(labels, now.left_s)],
    )


def _round(last: RoundFacts) -> Iterator[Metric]:
    labels = {"run": last.run}
    targets = {"valence": last.valence, "arousal": last.arousal}
    yield _gauge(
        "mien_round_timestamp_seconds",
        "When the last round was done, Unix time.",
        [(labels, _unix(last.time))],
    )
    yield _gauge(
        "mien_round_ccc",
        "Concordance after the last round, by the way it is taken over recordings.",
        [
            ({**labels, "target": target, "way": way}, value)
            for target, ccc in targets.items()
            for way, value in (("pooled", ccc.pooled), ("mean_over_recordings", ccc.mean_over_recordings))
        ],
    )
    yield _gauge(
        "mien_round_worst_site_ccc",
        "Pooled concordance of the site where it is lowest.",
        [({**labels, "target": target}, ccc.worst) for target, ccc in targets.items()],
    )
    yield _gauge(
        "mien_round_ccc_spread",
        "Standard deviation of the sites' pooled concordance.",
        [({**labels, "target": target}, ccc.spread) for target, ccc in targets.items()],
    )
    yield _gauge("mien_round_loss", "Training loss, mean weighted by frames.", [(labels, last.loss.mean)])
    yield _gauge(
        "mien_round_worst_site_loss",
        "Training loss of the site where it is highest.",
        [(labels, last.loss.worst)],
    )
    yield _gauge(
        "mien_round_loss_spread",
        "Standard deviation of the sites' training loss.",
        [(labels, last.loss.spread)],
    )
    yield _gauge("mien_round_duration_seconds", "What the round took.", [(labels, last.seconds.total)])
    yield _gauge(
        "mien_round_phase_seconds",
        "Where the round's time went.",
        [({**labels, "phase": phase}, getattr(last.seconds, phase)) for phase in PHASES],
    )
    yield _gauge("mien_round_attempts", "Attempts that the round took.", [(labels, last.attempts)])
    yield _gauge("mien_round_asked_sites", "Sites that were asked.", [(labels, last.sites_asked)])
    yield _gauge(
        "mien_round_answered_sites", "Sites whose update was taken.", [(labels, last.sites_answered)]
    )
    yield _gauge("mien_round_frames", "Frames that were trained on.", [(labels, last.frames)])
    yield _gauge("mien_round_received_bytes", "Received from sites in the round.", [(labels, last.bytes_up)])
    yield _gauge("mien_round_sent_bytes", "Sent to sites in the round.", [(labels, last.bytes_down)])
    yield _gauge("mien_epsilon", "Privacy spent up to the last round.", [(labels, last.epsilon)])


def _sites(sites: Sequence[SiteFacts]) -> Iterator[Metric]:
    yield _gauge(
        "mien_sites",
        "Sites by how they stand.",
        [
            ({"presence": presence}, sum(site.presence == presence for site in sites))
            for presence in get_args(SitePresence)
        ],
    )
    enrolled = [site for site in sites if site.presence in ENROLLED]

    def of_each(name: str, text: str, values: Iterable[float | None]) -> GaugeMetricFamily:
        return _gauge(
            name, text, [({"site": site.name}, value) for site, value in zip(enrolled, values, strict=True)]
        )

    yield of_each(
        "mien_site_online",
        "Whether the site counts as online; 1 also for one whose sign of life is overdue.",
        [site.presence in PRESENT for site in enrolled],
    )
    yield of_each(
        "mien_site_last_seen_timestamp_seconds",
        "Last sign of life, Unix time.",
        [_unix(site.last_seen) for site in enrolled],
    )
    yield of_each("mien_site_round", "Last round that it took part in.", [site.round for site in enrolled])
    yield of_each(
        "mien_site_frames", "Frames it trained on in that round.", [site.frames for site in enrolled]
    )
    yield of_each("mien_site_loss", "Its training loss in that round.", [site.loss for site in enrolled])
    yield of_each(
        "mien_site_update_norm",
        "Euclidean norm of its update in that round.",
        [site.update_norm for site in enrolled],
    )
    yield _gauge(
        "mien_site_ccc",
        "Pooled concordance over the site's held-out recordings.",
        [
            ({"site": site.name, "target": target}, value)
            for site in enrolled
            for target, value in (("valence", site.valence_ccc), ("arousal", site.arousal_ccc))
        ],
    )


def _gauge(name: str, text: str, samples: Iterable[Sample]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text)
    _fill(family, name, samples)
    return family


def _counter(name: str, text: str, samples: Iterable[Sample]) -> CounterMetricFamily:
    """The client library puts ``_total`` behind ``name``."""
    family = CounterMetricFamily(name, text)
    _fill(family, f"{name}_total", samples)
    return family


def _fill(family: Metric, name: str, samples: Iterable[Sample]) -> None:
    for labels, value in samples:
        if value is not None:
            family.add_sample(name, dict(labels), float(value))


def _unix(moment: str | None) -> float | None:
    return None if moment is None else dt.datetime.fromisoformat(moment).timestamp()
