"""From a rule's settings to the rule."""

from .mean_rule import MeanRule
from .rule import Rule
from .server_optimisers import momentum
from .settings import RuleSettings


def rule_from(settings: RuleSettings) -> Rule:
    """The rule that ``settings`` name, as it is before its first round."""
    if settings.name == "fedprox":
        return MeanRule(weighting=settings.weighting, proximal_mu=settings.proximal_mu)
    if settings.name == "fedavgm":
        rate = settings.server_learning_rate or 1.0
        return MeanRule(momentum(rate, settings.server_momentum), settings.weighting)
    return MeanRule(weighting=settings.weighting)
