"""From a rule's settings to the rule."""

from .mean_rule import MeanRule
from .robust_rule import RobustRule, bulyan, krum, median, multi_krum, trimmed_mean
from .rule import Rule
from .scaffold import Scaffold
from .server_optimisers import ADAPTIVE_RATE, MOMENTUM_RATE, adagrad, adam, momentum, yogi
from .settings import RuleSettings


def rule_from(settings: RuleSettings, sites: int | None = None) -> Rule:
    """The rule that ``settings`` name, as it is before its first round.

    Parameters
    ----------
    sites : how many there are in the federation, where a round asks only some of them; SCAFFOLD needs it.
    """
    weighting, given = settings.weighting, settings.server_learning_rate
    hostile = settings.byzantine_sites
    match settings.name:
        case "fedavg":
            return MeanRule(weighting=weighting)
        case "fedprox":
            return MeanRule(weighting=weighting, proximal_mu=settings.proximal_mu)
        case "fedavgm":
            return MeanRule(momentum(given or MOMENTUM_RATE, settings.server_momentum), weighting)
        case "fedadam":
            numbers = (given or ADAPTIVE_RATE, settings.beta_1, settings.beta_2, settings.tau)
            return MeanRule(adam(*numbers), weighting)
        case "fedyogi":
            numbers = (given or ADAPTIVE_RATE, settings.beta_1, settings.beta_2, settings.tau)
            return MeanRule(yogi(*numbers), weighting)
        case "fedadagrad":
            return MeanRule(adagrad(given or ADAPTIVE_RATE, settings.tau), weighting)
        case "scaffold":
            return Scaffold(given or 1.0, sites)
        case "median":
            return RobustRule(median())
        case "trimmed-mean":
            return RobustRule(trimmed_mean(settings.trimmed_share))
        case "krum":
            return RobustRule(krum(hostile))
        case "multi-krum":
            return RobustRule(multi_krum(hostile, settings.selected_sites))
        case "bulyan":
            return RobustRule(bulyan(hostile))
