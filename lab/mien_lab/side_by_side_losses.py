"""The losses of many sites at once: :mod:`mien_client.losses`, with a leading dimension of sites."""

from torch import Tensor


def losses_of(prediction: Tensor, target: Tensor, counts: Tensor, mse_share: float) -> Tensor:
    """Each site's (1 − share) · (1 − CCC) + share · MSE over its own frames that count.

    Parameters
    ----------
    prediction, target : (sites, windows, frames, 2)
    counts : (sites, windows, frames) bool

    Returns
    -------
    (sites,)
    """
    weight = counts.unsqueeze(-1).to(prediction.dtype)
    total = weight.sum((1, 2), keepdim=True).clamp(min=1.0)
    if mse_share == 0.0:
        return _ccc_losses(prediction, target, weight, total)
    squared = (((prediction - target).square() * weight).sum((1, 2)) / total[:, 0, 0]).mean(1)
    if mse_share == 1.0:
        return squared
    return (1.0 - mse_share) * _ccc_losses(prediction, target, weight, total) + mse_share * squared


def _ccc_losses(prediction: Tensor, target: Tensor, weight: Tensor, total: Tensor) -> Tensor:
    """1 − CCC (Lin, 1989), averaged over valence and arousal; ``total`` of the weights, per site."""
    mean_x = (prediction * weight).sum((1, 2), keepdim=True) / total
    mean_y = (target * weight).sum((1, 2), keepdim=True) / total
    away_x, away_y = (prediction - mean_x) * weight, (target - mean_y) * weight
    spread = (away_x.square() + away_y.square()).sum((1, 2), keepdim=True) / total
    covariance = (away_x * away_y).sum((1, 2), keepdim=True) / total
    concordance = 2 * covariance / (spread + (mean_x - mean_y).square() + 1e-8)
    return 1 - concordance.flatten(1).mean(1)
