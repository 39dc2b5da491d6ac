"""Whether a comparison can be made on its corpus at all, said before the first hour of it.

Enters: a configuration, which is possible by itself, and the folds of its corpus. Leaves: nothing, or one
sentence with the key to change.
"""

from collections.abc import Sequence

from mien_common.errors import MienError, SettingsError
from mien_lab.corpora.corpus import Corpus
from mien_lab.corpora.gold_standard import gold_standard
from mien_server.rules.choice import rule_from

from .config import Config, Method
from .federated import sites_asked
from .splits import Fold


def refuse_impossible(config: Config, corpus: Corpus, folds: Sequence[Fold]) -> None:
    """Raise for the first thing in ``config`` that could not be tried on ``folds`` of ``corpus``.

    Raises
    ------
    SettingsError
        A rule cannot work with sites that train so, or with so few.
    RatingsError
        A recording has no gold standard of the kind that is asked for.
    """
    for index, method in enumerate(config.methods):
        if method.kind == "federated":
            _refuse_rule(config, f"methods[{index}].rule ({method.name})", method, folds)
    used = {name for fold in folds for part in (fold.test, *fold.sites.values()) for name in part}
    for recording in corpus.recordings:
        if recording.name in used:
            gold_standard(recording, config.corpus.gold_standard)


def _refuse_rule(config: Config, key: str, method: Method, folds: Sequence[Fold]) -> None:
    try:
        rule = rule_from(method.rule, max(len(fold.sites) for fold in folds))
        rule.local_settings(config.training)
    except MienError as error:
        raise SettingsError(f"{key}: {error}") from error
    for fold in folds:
        asked = len(sites_asked(sorted(fold.sites), method.participation, 0, 1))
        if asked < rule.fewest_sites:
            raise SettingsError(
                f"{key}: {method.rule.name} needs {rule.fewest_sites} sites a round; fold {fold.name} has "
                f"{asked}. Choose another rule, another split or a higher participation."
            )
