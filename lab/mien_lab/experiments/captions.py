"""What stands above a table: whose data, how made, how to read it.

Enters: a configuration and what came of it. Leaves: sentences. Made data are called so in every one of them.
"""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final, Literal

from mien_common.schema import TARGETS

from .config import Config
from .paired_tests import LEVEL
from .scores import CccRule
from .statistics import CONFIDENCE, RESAMPLES, Summary

RULES: Final[dict[CccRule, str]] = {
    "mean_over_recordings": "mean over recordings",
    "pooled": "pooled",
}
"""In words."""
_MADE: Final = frozenset({"synthetic", "puppet"})
_LIBRARIES: Final = ("mien", "torch", "numpy", "scipy")


def about(config: Config, note: str, partial: str | None) -> tuple[str, ...]:
    """Data, protocol, split, lag, training, seeds, versions: what a reader needs to judge the numbers by.

    Parameters
    ----------
    note : the corpus's own.
    partial : what is missing, where something is.
    """
    sentences = [f"{config.name}."]
    if partial is not None:
        sentences.append(f"PARTIAL RESULTS: {partial}.")
    if is_made(config):
        sentences.append("SYNTHETIC DATA: made by a program, no person's.")
    data = config.corpus.kind + (f", {config.corpus.features} features" if config.corpus.features else "")
    sentences.append(f"Data: {data}; gold standard: {config.corpus.gold_standard}.")
    if note.strip():
        sentences.append(f"Of the data: {note.strip().rstrip('.')}.")
    sentences += [
        f"Protocol: {_protocol(config)}.",
        f"Split: {_split(config)}.",
        f"Lag: {_lag(config)}.",
        f"Features: {_scaling(config)}.",
        f"Training: {_training(config)}.",
        *_postprocessing(config),
        f"Seeds: {', '.join(map(str, config.seeds))}.",
        f"Computed with {versions()}.",
    ]
    return tuple(sentences)


def how_to_read(config: Config, summaries: Sequence[Summary]) -> tuple[str, ...]:
    """What mean, spread, interval, worst site and bold mean in the table."""
    seeds = max((one.estimates[rule, TARGETS[0]].seeds for one in summaries for rule in RULES), default=0)
    spread = (
        "Mean ± sample standard deviation over seeds of the CCC over the test recordings of all folds"
        if seeds > 1
        else "One seed, so no spread over seeds"
    )
    undefined = [
        "Under the number of people: of how many a CCC of valence, of arousal is defined; the others are "
        "left out of the means, and their points stay in the pooled CCC."
    ] * any(any(one.undefined) for one in summaries)
    return (
        *undefined,
        "CCC by two rules: the mean of the recordings' CCCs, and one CCC over all their "
        f"{'windows' if config.protocol == 'mase2021' else 'frames'} pooled.",
        f"{spread}; in brackets a {CONFIDENCE:.0%} BCa bootstrap interval over people "
        f"({RESAMPLES:,} resamples, seeds averaged; expanded for few people, Hesterberg 2015).",
        "Worst site: lowest mean CCC of a site's test recordings, of a person's where no site has the test "
        "people.",
        "Bold: the highest mean over recordings, only where a paired permutation test against the second "
        f"highest has p < {LEVEL:g}, adjusted by Holm over all pairs.",
    )


def is_made(config: Config) -> bool:
    """Whether the data are made, so that no text may let them pass for people's."""
    return config.corpus.kind in _MADE


def versions() -> str:
    """Of what computed the numbers."""
    return ", ".join(
        [*(f"{name} {version(name)}" for name in _LIBRARIES), f"Python {platform.python_version()}"]
    )


def _protocol(config: Config) -> str:
    if config.protocol == "mase2021":
        return "mase2021, means over windows of 600 frames"
    return "avec, frame by frame"


def _split(config: Config) -> str:
    split = config.split
    kinds: dict[Literal["leave-one-out", "k-fold", "official", "sessions"], str] = {
        "leave-one-out": "leave one participant out",
        "k-fold": f"{split.folds} folds of participants",
        "official": "the release's train and dev participants",
        "sessions": "each participant's last recording tested",
    }
    sites = split.participants_per_site
    return f"{kinds[split.kind]}; {sites} participant{'s' if sites > 1 else ''} a site"


def _scaling(config: Config) -> str:
    if config.scaling == "training":
        return "standardised by training people's, a test person's too"
    if config.split.kind == "sessions":
        return "standardised per participant, by that person's own training recordings"
    return (
        "standardised per participant, a test person's by all of that person's own features "
        "(transductive: no rating is used)"
    )


def _training(config: Config) -> str:
    training, share = config.training, config.split.validation_share
    loss = {0.0: "1 − CCC", 1.0: "mean squared error"}.get(
        training.mse_share, f"1 − CCC with a share of {training.mse_share:g} of mean squared error"
    )
    epochs = f"{training.local_epochs} epoch{'s' if training.local_epochs > 1 else ''}"
    chosen = f"chosen on the last {share:.0%} of training recordings" if share else "the last one taken"
    return (
        f"{'up to ' if config.patience else ''}{config.rounds} round{'s' if config.rounds > 1 else ''} of "
        f"{epochs} (as many epochs without federation), the round {chosen}; {training.optimiser} at "
        f"{training.learning_rate:g}, loss {loss}"
    )


def _postprocessing(config: Config) -> list[str]:
    """Nothing where predictions are taken as they are."""
    ratings = config.ratings
    steps = [f"a moving average over {ratings.smoothing_s:g} s"] * (ratings.smoothing_s > 0)
    fitted = ["centred"] * ratings.centre + ["scaled"] * ratings.scale
    if fitted:
        steps.append(f"{' and '.join(fitted)} as fitted to training people")
    return [f"Predictions: {', '.join(steps)}."] if steps else []


def _lag(config: Config) -> str:
    ratings = config.ratings
    if ratings.lag_s != "grid":
        return f"{ratings.lag_s:g} s, fixed"
    whose = "one for all" if ratings.lag_of == "all" else "one a site"
    if ratings.lag_of == "all" and any(method.kind == "local-only" for method in config.methods):
        whose += ", local-only by its own site"
    return f"chosen on training people between {ratings.lag_from_s:g} and {ratings.lag_to_s:g} s, {whose}"
