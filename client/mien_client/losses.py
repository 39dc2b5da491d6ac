"""What training makes small: 1 − CCC, the mean squared error, or a mix, over the frames that count."""

from torch import Tensor


def loss_of(prediction: Tensor, target: Tensor, counts: Tensor, mse_share: float) -> Tensor:
    """(1 − share) · (1 − CCC) + share · MSE; parameters as in :func:`ccc_loss`."""
    if mse_share == 0.0:
        return ccc_loss(prediction, target, counts)
    squared = mse_loss(prediction, target, counts)
    if mse_share == 1.0:
        return squared
    return (1.0 - mse_share) * ccc_loss(prediction, target, counts) + mse_share * squared


def mse_loss(prediction: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """Mean squared error over valence, arousal and the frames that count; parameters as in :func:`ccc_loss`.

    0, and no gradient, when no frame counts.
    """
    weight = counts.unsqueeze(-1).to(prediction.dtype)
    return ((prediction - target).square() * weight).sum((0, 1)).mean() / weight.sum().clamp(min=1.0)


def ccc_loss(prediction: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """1 − CCC (Lin, 1989), averaged over valence and arousal, over all frames of the batch that count.

    Parameters
    ----------
    prediction, target : (batch, frames, 2)
    counts : (batch, frames) bool

    Returns
    -------
    Scalar; 1 where nothing correlates, 0 where the traces are equal. A target that does not vary among the
    counted frames, or none that counts, gives 1 and no gradient: it teaches nothing, and breaks nothing.
    """
    weight = counts.unsqueeze(-1).to(prediction.dtype)
    total = weight.sum().clamp(min=1.0)
    mean_x = (prediction * weight).sum((0, 1)) / total
    mean_y = (target * weight).sum((0, 1)) / total
    away_x, away_y = (prediction - mean_x) * weight, (target - mean_y) * weight
    spread = (away_x.square() + away_y.square()).sum((0, 1)) / total + (mean_x - mean_y).square()
    covariance = (away_x * away_y).sum((0, 1)) / total
    return 1 - (2 * covariance / (spread + 1e-8)).mean()
