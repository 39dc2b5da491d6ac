"""Options of ``mien server run`` that are a run's settings; what is not given is its file's, or default."""

from typing import Annotated, Any, Literal

import typer

from mien_server.rules.names import RuleName, Weighting

RULE = "The federated rule"
MODEL = "The model and its training"
"""Where the help lists what belongs to it."""

Rounds = Annotated[int | None, typer.Option(help="Number of rounds.", show_default=False)]
Quorum = Annotated[
    int | None,
    typer.Option(
        help="Sites that must answer for a round to count.",
        show_default="more than half of those asked, or what the rule needs",
    ),
]
Deadline = Annotated[
    float | None,
    typer.Option(
        help="Longest wait for the sites' training in a round, and again for their evaluation, seconds.",
        show_default="600",
    ),
]
Wait = Annotated[
    float | None,
    typer.Option(help="Longest wait for enough sites to be online, seconds.", show_default="120"),
]
Fraction = Annotated[
    float | None,
    typer.Option(
        help="Share of the sites online that a round asks to train, drawn anew each round; never fewer than "
        "the quorum.",
        show_default="1, all of them",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        help="Of the first weights, the order of training, and who is asked; the same seed and sites give "
        "the same model.",
        show_default="7",
    ),
]
Evaluate = Annotated[
    bool | None,
    typer.Option(
        "--evaluate/--no-evaluate",
        help="Evaluate every round's model on the sites' held-out recordings.",
        show_default="evaluate",
    ),
]
LocalEpochs = Annotated[
    int | None,
    typer.Option(
        help="Passes of each site over its own data in a round.", show_default="2", rich_help_panel=MODEL
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(help="Of the sites' Adam optimiser.", show_default="0.003", rich_help_panel=MODEL),
]
WindowS = Annotated[
    float | None,
    typer.Option(help="Length of a training window, seconds.", show_default="10", rich_help_panel=MODEL),
]
Model = Annotated[
    Literal["gru", "lstm", "rnn"] | None,
    typer.Option(
        help="What remembers the frames before: a GRU, an LSTM, or a simple RNN.",
        show_default="gru",
        rich_help_panel=MODEL,
    ),
]
Bidirectional = Annotated[
    bool | None,
    typer.Option(
        "--bidirectional",
        help="Read every recording from both ends: a frame's prediction knows what follows it. Such a "
        "model takes whole recordings only; `mien agent watch` can't use it.",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
Residual = Annotated[
    bool | None,
    typer.Option(
        "--residual",
        help="Two blocks of convolutions over time, with skip connections, before the recurrence.",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
HiddenUnits = Annotated[
    int | None,
    typer.Option(
        help="Size of a layer of the recurrence, per direction.", show_default="64", rich_help_panel=MODEL
    ),
]
Layers = Annotated[
    int | None,
    typer.Option(
        help="Layers of the recurrence, one above the other.", show_default="2", rich_help_panel=MODEL
    ),
]
Rule = Annotated[
    RuleName | None,
    typer.Option(
        help="How the sites' updates become the new model. The mean, with or without an optimiser at the "
        "server (fed…), or a rule that holds out against hostile sites (median and after). "
        "docs/rules.md tells them apart.",
        show_default="fedavg",
        rich_help_panel=RULE,
    ),
]
WeightingOption = Annotated[
    Weighting | None,
    typer.Option(
        help="fed…: what a site's update counts for in the mean, its frames or as much as any other's.",
        show_default="frames",
        rich_help_panel=RULE,
    ),
]
ProximalMu = Annotated[
    float | None,
    typer.Option(
        help="fedprox: how strongly sites are held to the global model while they train; above 0.",
        show_default="0.01",
        rich_help_panel=RULE,
    ),
]
ServerLearningRate = Annotated[
    float | None,
    typer.Option(
        help="fedavgm, fedadam, fedyogi, fedadagrad: length of the server's step along the mean update.",
        show_default="1 for fedavgm, else 0.03",
        rich_help_panel=RULE,
    ),
]
ServerMomentum = Annotated[
    float | None,
    typer.Option(
        help="fedavgm: share of its last step that the server takes again, 0 to below 1.",
        show_default="0.9",
        rich_help_panel=RULE,
    ),
]
Beta1 = Annotated[
    float | None,
    typer.Option(
        help="fedadam, fedyogi: how long the mean update is remembered, 0 to below 1.",
        show_default="0.9",
        rich_help_panel=RULE,
    ),
]
Beta2 = Annotated[
    float | None,
    typer.Option(
        help="fedadam, fedyogi: how long its square is remembered, 0 to below 1.",
        show_default="0.99",
        rich_help_panel=RULE,
    ),
]
Tau = Annotated[
    float | None,
    typer.Option(
        help="fedadam, fedyogi, fedadagrad: updates much smaller than this make smaller steps.",
        show_default="0.001",
        rich_help_panel=RULE,
    ),
]
TrimmedShare = Annotated[
    float | None,
    typer.Option(
        help="trimmed-mean: share of the sites left out at each end, below 0.5.",
        show_default="0.2",
        rich_help_panel=RULE,
    ),
]
ByzantineSites = Annotated[
    int | None,
    typer.Option(
        help="krum, multi-krum, bulyan: how many sites may be hostile. For F of them krum and multi-krum "
        "need 2F+3 sites in a round, bulyan 4F+3.",
        rich_help_panel=RULE,
    ),
]
SelectedSites = Annotated[
    int | None,
    typer.Option(
        help="multi-krum: how many sites' updates are averaged.",
        show_default="all but the hostile",
        rich_help_panel=RULE,
    ),
]


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Settings that were given, out of ``values``, where None stands for those that were not."""
    kept = {key: given(value) if isinstance(value, dict) else value for key, value in values.items()}
    return {key: value for key, value in kept.items() if value is not None and value != {}}
