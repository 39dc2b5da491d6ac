"""What a site keeps to itself, so that its model is its own.

Enters: an architecture, or the trained global model with a site's recordings. Leaves: the names of the arrays
that are never aggregated; a model per site that was trained on at its site.

- ``local-head`` (FedPer; Arivazhagan et al., 2019): the head stays, the layers below are shared.
- ``local-normalisation`` (FedBN; Li et al., 2021): scales and shifts of the normalisation layers stay.
- ``fine-tuning``: after the last round each site trains the shared model on, on its own recordings.
"""

from collections.abc import Mapping

from mien_client.client_app import window_seed
from mien_client.early_stopping import EarlyStopping
from mien_client.training import train
from mien_common.architecture import Architecture
from mien_common.errors import SettingsError
from mien_common.network import HEAD, normalisation_arrays
from mien_common.weights import Weights, network_from, shapes_of, weights_of

from .config import Method
from .plan import Plan, refuse_divergence
from .preparation import SiteRecordings
from .validation import agreement, score


def local_arrays(method: Method, architecture: Architecture) -> frozenset[str]:
    """Names of the arrays that ``method`` keeps at the sites.

    Raises
    ------
    SettingsError
        The architecture has none of the kind.
    """
    if method.personalisation == "local-head":
        return frozenset(name for name in shapes_of(architecture) if name.startswith(HEAD))
    if method.personalisation == "local-normalisation":
        names = normalisation_arrays(architecture)
        if not names:
            raise SettingsError(
                f'method {method.name}: personalisation "local-normalisation" keeps normalisation layers at '
                "the sites, and the model has none. Set input_norm = true or residual = true in its "
                "architecture."
            )
        return names
    return frozenset()


def fine_tuned(
    plan: Plan, sites: Mapping[str, SiteRecordings], weights: Weights, epochs: int
) -> dict[str, Weights]:
    """By site: ``weights`` trained on for up to ``epochs`` on the site's recordings.

    The epoch that is best on the site's own validation parts is taken, which may be none: the shared model
    itself. A site that keeps nothing for validation takes the last one.
    """
    return {site: _tuned(plan, site, sites[site], weights, epochs) for site in sorted(sites)}


def _tuned(plan: Plan, site: str, recordings: SiteRecordings, weights: Weights, epochs: int) -> Weights:
    network = network_from(weights, plan.architecture)
    stopping = EarlyStopping(patience=None)

    def observe(epoch: int, tuned: Weights) -> None:
        stopping.observe(epoch, score(agreement(plan.measure.of(network, recordings.validation))), tuned)

    def after_epoch(epoch: int, loss: float) -> bool:
        tuned = weights_of(network)
        refuse_divergence(loss, tuned, plan.rounds + epoch)
        observe(epoch, tuned)
        return False

    observe(0, weights)

    train(
        network,
        recordings.train,
        plan.training.model_copy(update={"local_epochs": epochs}),
        window_seed(plan.seed, plan.rounds + 1, site),
        plan.device,
        rate_hz=plan.rate_hz,
        after_epoch=after_epoch,
    )
    return stopping.best_weights or weights_of(network)
