"""One run of a comparison: a model, trained by a method with a seed, tried on a fold's test people.

Enters: a job, by names from the configuration, and the corpus. Leaves: its outcome. Whatever the method, a
site trains by the agents' own training function and updates are combined by the server's own rules; only who
sees whose recordings differs. The same job on the same machine gives the same outcome, but for the seconds.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mien_client.device import choose_device
from mien_common.errors import SettingsError
from mien_lab.corpora.corpus import Corpus

from .centralised import train_centralised, train_local
from .config import Config, Method
from .federated import train_federated
from .outcome import Job, Outcome, Scored
from .plan import EVERYBODY, Plan, Trained, plan_of
from .postprocessing import PostProcessing
from .preparation import Prepared, SiteRecordings, digest, prepare
from .scoring import Part, score_part
from .splits import Fold, folds
from .windows import WINDOW_FRAMES

Tell = Callable[[int, int], None]
"""Takes rounds done and rounds there are at most."""


@dataclass(frozen=True)
class Run:
    """What a run gave, and what it fitted."""

    outcome: Outcome
    fingerprints: Mapping[str, str]
    """SHA-256 by what was fitted: scalers, lags, validation, weights, post-processing."""


def run_job(job: Job, corpus: Corpus, config: Config, tell: Tell = lambda _done, _total: None) -> Outcome:
    """Train and test as ``job`` says.

    Raises
    ------
    MienError
        The data or the settings do not allow it, or training diverged.
    """
    fold = next(fold for fold in folds(corpus, config.split) if fold.name == job.fold)
    return run_fold(job, corpus, fold, config, tell).outcome


def run_fold(
    job: Job, corpus: Corpus, fold: Fold, config: Config, tell: Tell = lambda _done, _total: None
) -> Run:
    """The same on a fold that is given, with the fingerprints that :mod:`.leaks` compares."""
    started = time.monotonic()
    model = next(model for model in config.models if model.name == job.model)
    method = next(method for method in config.methods if method.name == job.method)
    device = choose_device(config.device)
    progress = _Progress(tell, config.rounds * (len(fold.sites) if method.kind == "local-only" else 1))
    plan = plan_of(config, model, job.seed, len(corpus.channels), corpus.rate_hz, device, progress.round_over)
    prepared = _prepared(corpus, fold, config, method)
    if config.protocol == "mase2021":
        _refuse_without_window(prepared)
    trained = _train(plan, prepared, method)
    scored: list[Scored] = []
    processed: dict[str, PostProcessing] = {}
    for part in _parts(trained, prepared):
        found, processed[part.site] = score_part(plan, part, config.ratings)
        scored.extend(found)
    fingerprints = _fingerprints(prepared, trained, processed)
    outcome = Outcome(
        job=job,
        scored=tuple(scored),
        rounds=trained.rounds,
        chosen_round=trained.chosen_round,
        lag_s=_lags(prepared),
        fitted=digest(f"{name}={value}".encode() for name, value in sorted(fingerprints.items())),
        frames=sum(
            int(recording.counts.sum())
            for one in prepared.values()
            for recordings in one.sites.values()
            for recording in recordings.train
        ),
        seconds=time.monotonic() - started,
        device=device.type,
        rule=method.rule.name if method.kind == "federated" else "none",
        points_hz=corpus.rate_hz / (WINDOW_FRAMES if config.protocol == "mase2021" else 1),
        notes=tuple(dict.fromkeys(note for one in prepared.values() for note in one.notes)),
    )
    return Run(outcome, fingerprints)


def _prepared(corpus: Corpus, fold: Fold, config: Config, method: Method) -> Mapping[str, Prepared]:
    """By site where a site has nothing from the others, not even their part in a scaler or a lag."""
    own_scaler = method.personalisation == "local-normalisation" and config.scaling == "training"
    if method.kind == "local-only" or own_scaler:
        return {site: prepare(corpus, fold.only(site), config) for site in sorted(fold.sites)}
    return {EVERYBODY: prepare(corpus, fold, config)}


def _refuse_without_window(prepared: Mapping[str, Prepared]) -> None:
    """Stopping early by windows needs one, in somebody's validation parts."""
    kept = [
        len(recording.counts)
        for one in prepared.values()
        for recordings in one.sites.values()
        for recording in recordings.validation
    ]
    if kept and max(kept) < WINDOW_FRAMES:
        raise SettingsError(
            f"split.validation_share: the longest validation part is {max(kept)} frames, less than one "
            f'window of {WINDOW_FRAMES}, by which protocol "mase2021" stops. Give a larger share, or 0 to '
            "train for all rounds."
        )


def _train(plan: Plan, prepared: Mapping[str, Prepared], method: Method) -> Trained:
    sites: dict[str, SiteRecordings] = {}
    for one in prepared.values():
        sites.update(one.sites)
    if method.kind == "centralised":
        return train_centralised(plan, sites)
    if method.kind == "local-only":
        return train_local(plan, sites)
    return train_federated(plan, sites, method)


def _parts(trained: Trained, prepared: Mapping[str, Prepared]) -> list[Part]:
    """The one model with everybody's recordings, or each site's with its own people's."""
    parts = []
    for site, weights in sorted(trained.models.items()):
        one = prepared[site if site in prepared else EVERYBODY]
        training = tuple(one.sites.values()) if site == EVERYBODY else (one.sites[site],)
        test = tuple(each for each in one.test if site in (EVERYBODY, each.site))
        parts.append(Part(site, weights, training, test))
    return parts


def _fingerprints(
    prepared: Mapping[str, Prepared], trained: Trained, processed: Mapping[str, PostProcessing]
) -> dict[str, str]:
    """Of all that was fitted; of the evidence for the chosen round too, which luck may leave the same."""
    parts: dict[str, list[bytes]] = {
        "validation": [repr((point.round, point.validation)).encode() for point in trained.rounds]
        + [str(trained.chosen_round).encode()],
        "weights": [
            piece
            for site, weights in sorted(trained.models.items())
            for name, array in sorted(weights.items())
            for piece in (site.encode(), name.encode(), array.tobytes())
        ],
        "post-processing": [
            piece for site, one in sorted(processed.items()) for piece in (site.encode(), one.fitted.encode())
        ],
    }
    for site, one in sorted(prepared.items()):
        for name, value in one.fingerprints.items():
            parts.setdefault(name, []).extend([site.encode(), value.encode()])
    return {name: digest(pieces) for name, pieces in parts.items()}


def _lags(prepared: Mapping[str, Prepared]) -> dict[str, tuple[float, float]]:
    """By site where each has its own, else as they were prepared."""
    if EVERYBODY in prepared:
        return dict(prepared[EVERYBODY].lag_s)
    return {site: next(iter(one.lag_s.values())) for site, one in prepared.items()}


class _Progress:
    """Counts rounds, of one training or of a site after another."""

    def __init__(self, tell: Tell, total: int) -> None:
        self._tell, self._total, self._done = tell, total, 0

    def round_over(self) -> None:
        self._done += 1
        self._tell(self._done, self._total)
