"""Models as rounds publish them, for the tests of what is made of them."""

from pathlib import Path
from typing import Any, Final

from mien_common.architecture import Architecture
from mien_common.network import build
from mien_common.published import Agreement, Contribution, ModelCard, SiteAgreement
from mien_common.schema import AU_V1
from mien_common.weights import weights_of
from mien_server.publishing.registry import publish_round

RUN: Final = "2026-11-23-001"
TINY: Final = Architecture(hidden_units=3, layers=1)


def publish_model(models: Path, round_: int = 1, architecture: Architecture = TINY, **changes: Any) -> Path:
    """The folder of a new model whose weights come from ``round_``."""
    card = ModelCard(
        schema_name=AU_V1.name,
        channels=AU_V1.channels,
        rate_hz=AU_V1.rate_hz,
        architecture=architecture,
        run=RUN,
        round=round_,
        created=f"2026-11-23T10:00:{round_:02d}+00:00",
        sites=(Contribution(site="lab-1", frames=3000), Contribution(site="lab-2", frames=4500)),
        ccc={
            "valence": Agreement(mean_over_recordings=0.25 + round_ / 100, pooled=0.5),
            "arousal": Agreement(mean_over_recordings=float("nan"), pooled=float("nan")),
        },
        worst_site={"valence": SiteAgreement(site="lab-2", mean_over_recordings=0.1, pooled=0.125)},
        weights_bytes=0,
        versions={"mien": "0.1.0"},
        sha256="0" * 64,
    )
    return publish_round(models, weights_of(build(architecture, round_)), card.model_copy(update=changes))
