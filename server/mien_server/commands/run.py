"""``mien server run``: a run is started and followed."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from mien_server.rules.names import RuleName, Weighting

from .event_lines import line_of
from .options import Dir

RULE = "The federated rule"
"""Where the help lists what belongs to it."""


def run(
    rounds: Annotated[int, typer.Option(help="Number of rounds.")],
    quorum: Annotated[
        int | None,
        typer.Option(
            help="Sites that must answer for a round to count.",
            show_default="more than half of the enrolled, or what the rule needs",
        ),
    ] = None,
    deadline: Annotated[
        float,
        typer.Option(
            help="Longest wait for the sites' training in a round, and again for their evaluation, seconds."
        ),
    ] = 600.0,
    wait: Annotated[float, typer.Option(help="Longest wait for enough sites to be online, seconds.")] = 120.0,
    seed: Annotated[
        int,
        typer.Option(
            help="Of the first weights and the order of training; the same seed and sites give "
            "the same model."
        ),
    ] = 7,
    local_epochs: Annotated[
        int | None,
        typer.Option(help="Passes of each site over its own data in a round.", show_default="2"),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Of the sites' Adam optimiser.", show_default="0.003")
    ] = None,
    window_s: Annotated[
        float | None,
        typer.Option(help="Length of a training window, seconds.", show_default="10"),
    ] = None,
    model: Annotated[
        Literal["gru", "lstm", "rnn"],
        typer.Option(help="What remembers the frames before: a GRU, an LSTM, or a simple RNN."),
    ] = "gru",
    bidirectional: Annotated[
        bool,
        typer.Option(
            "--bidirectional",
            help="Read every recording from both ends: a frame's prediction knows what follows it. Such a "
            "model takes whole recordings only; `mien agent watch` can't use it.",
        ),
    ] = False,
    residual: Annotated[
        bool,
        typer.Option(
            "--residual",
            help="Two blocks of convolutions over time, with skip connections, before the recurrence.",
        ),
    ] = False,
    hidden_units: Annotated[
        int | None,
        typer.Option(help="Size of a layer of the recurrence, per direction.", show_default="64"),
    ] = None,
    layers: Annotated[
        int | None, typer.Option(help="Layers of the recurrence, one above the other.", show_default="2")
    ] = None,
    rule: Annotated[
        RuleName,
        typer.Option(
            help="How the sites' updates become the new model. The mean, with or without an optimiser at the "
            "server (fed…), or a rule that holds out against hostile sites (median and after). "
            "docs/rules.md tells them apart.",
            rich_help_panel=RULE,
        ),
    ] = "fedavg",
    weighting: Annotated[
        Weighting | None,
        typer.Option(
            help="fed…: what a site's update counts for in the mean, its frames or as much as any other's.",
            show_default="frames",
            rich_help_panel=RULE,
        ),
    ] = None,
    proximal_mu: Annotated[
        float | None,
        typer.Option(
            help="fedprox: how strongly sites are held to the global model while they train; above 0.",
            show_default="0.01",
            rich_help_panel=RULE,
        ),
    ] = None,
    server_learning_rate: Annotated[
        float | None,
        typer.Option(
            help="fedavgm, fedadam, fedyogi, fedadagrad: length of the server's step along the mean update.",
            show_default="1 for fedavgm, else 0.03",
            rich_help_panel=RULE,
        ),
    ] = None,
    server_momentum: Annotated[
        float | None,
        typer.Option(
            help="fedavgm: share of its last step that the server takes again, 0 to below 1.",
            show_default="0.9",
            rich_help_panel=RULE,
        ),
    ] = None,
    beta_1: Annotated[
        float | None,
        typer.Option(
            help="fedadam, fedyogi: how long the mean update is remembered, 0 to below 1.",
            show_default="0.9",
            rich_help_panel=RULE,
        ),
    ] = None,
    beta_2: Annotated[
        float | None,
        typer.Option(
            help="fedadam, fedyogi: how long its square is remembered, 0 to below 1.",
            show_default="0.99",
            rich_help_panel=RULE,
        ),
    ] = None,
    tau: Annotated[
        float | None,
        typer.Option(
            help="fedadam, fedyogi, fedadagrad: updates much smaller than this make smaller steps.",
            show_default="0.001",
            rich_help_panel=RULE,
        ),
    ] = None,
    trimmed_share: Annotated[
        float | None,
        typer.Option(
            help="trimmed-mean: share of the sites left out at each end, below 0.5.",
            show_default="0.2",
            rich_help_panel=RULE,
        ),
    ] = None,
    byzantine_sites: Annotated[
        int | None,
        typer.Option(
            help="krum, multi-krum, bulyan: how many sites may be hostile. For F of them krum and multi-krum "
            "need 2F+3 sites in a round, bulyan 4F+3.",
            rich_help_panel=RULE,
        ),
    ] = None,
    selected_sites: Annotated[
        int | None,
        typer.Option(
            help="multi-krum: how many sites' updates are averaged.",
            show_default="all but the hostile",
            rich_help_panel=RULE,
        ),
    ] = None,
    evaluate: Annotated[
        bool, typer.Option(help="Evaluate every round's model on the sites' held-out recordings.")
    ] = True,
    folder: Dir = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the run's events as JSON lines.")] = False,
) -> None:
    """Train a global model: start a run on the running server and follow it to its end.

    Every round's model is published in DIR/models. Ctrl-C stops the run; the rounds that are done stay
    published.
    """
    import contextlib

    from mien_common.messages import TrainingSettings
    from mien_server.enrolment import read_sites
    from mien_server.folder import open_folder
    from mien_server.logs import interrupt_on_signals
    from mien_server.run_settings import checked
    from mien_server.run_watch import run_and_follow

    opened = open_folder(folder)
    chosen = {"local_epochs": local_epochs, "learning_rate": learning_rate, "window_s": window_s}
    training = TrainingSettings().model_dump() | {
        name: value for name, value in chosen.items() if value is not None
    }
    numbers = {
        "weighting": weighting,
        "proximal_mu": proximal_mu,
        "server_learning_rate": server_learning_rate,
        "server_momentum": server_momentum,
        "beta_1": beta_1,
        "beta_2": beta_2,
        "tau": tau,
        "trimmed_share": trimmed_share,
        "byzantine_sites": byzantine_sites,
        "selected_sites": selected_sites,
    }
    given = {name: value for name, value in numbers.items() if value is not None}
    settings = checked(
        {
            "rounds": rounds,
            **({} if quorum is None else {"quorum": quorum}),
            "deadline_s": deadline,
            "wait_s": wait,
            "seed": seed,
            "evaluate": evaluate,
            "training": training,
            "architecture": {
                "kind": model,
                "bidirectional": bidirectional,
                "residual": residual,
                **({"hidden_units": hidden_units} if hidden_units is not None else {}),
                **({"layers": layers} if layers is not None else {}),
            },
            "rule": {"name": rule, **given},
        },
        enrolled=len(read_sites(opened)),
    )
    if not settings.architecture.streams:
        typer.echo(
            f"warning: the model ({settings.architecture.in_words}) needs whole recordings: the sites can "
            "use it with `mien agent predict` and `plot`, but not live, with `mien agent watch`",
            err=True,
        )
    interrupt_on_signals()
    try:
        with contextlib.closing(run_and_follow(opened, settings)) as events:
            for event in events:
                print(json.dumps(event) if as_json else line_of(event), flush=True)
    except KeyboardInterrupt:
        typer.echo("stopped the run", err=True)
        raise typer.Exit(130) from None
