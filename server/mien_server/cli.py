"""``mien server``: the operator's commands."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mien_server.rules.names import RuleName, Weighting

if TYPE_CHECKING:
    from mien_server.journal import Event

app = typer.Typer(
    no_args_is_help=True, help="Run the federation's server: certificates, sites, rounds, models."
)

RULE = "The federated rule"
"""Where the help lists what belongs to it."""

Dir = Annotated[
    Path,
    typer.Option("--dir", envvar="MIEN_SERVER_DIR", help="The server's folder, made by `mien server init`."),
]


@app.callback()
def server() -> None:
    """Run the federation's server: certificates, sites, rounds, models.

    In order: `init` a folder, give its tls/ca.crt to every site, `enrol` each site's public key, keep
    `up` running, then start a `run`.
    """


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make.")],
    host: Annotated[
        list[str] | None,
        typer.Option(
            help="Name by which agents reach this server; give it once per name. localhost and this "
            "machine's own name are always in the certificate."
        ),
    ] = None,
    ip: Annotated[
        list[str] | None,
        typer.Option(
            help="Address by which agents reach this server; give it once per address. 127.0.0.1 and "
            "::1 are always in the certificate."
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            help="Address to accept agents on; 0.0.0.0 means every one of this machine.",
            show_default="0.0.0.0",  # noqa: S104 - a word in the help
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port for agents.", show_default="9092")] = None,
    control_port: Annotated[
        int | None,
        typer.Option(help="Port for these commands, on 127.0.0.1 only.", show_default="9093"),
    ] = None,
    days: Annotated[
        int, typer.Option(min=1, max=3650, help="Days until the server certificate expires.")
    ] = 365,
    renew: Annotated[
        bool,
        typer.Option(
            "--renew",
            help="Give an existing folder a new server certificate, the names given here added; "
            "its sites need nothing new. Start `up` again after it.",
        ),
    ] = False,
) -> None:
    """Make a server folder: settings, a certificate authority, a server certificate."""
    import datetime as dt

    from mien_server.certificates import issue_server_certificate, make_authority
    from mien_server.folder import create_folder, open_folder, parse_settings, save_settings

    given: dict[str, object] = {
        "hosts": host,
        "ips": ip,
        "listen": listen,
        "port": port,
        "control_port": control_port,
    }
    values = {name: value for name, value in given.items() if value is not None}
    now = dt.datetime.now(dt.UTC)
    if renew:
        made = open_folder(folder)
        kept = made.settings.model_dump()
        # Names are added: a site that uses an old one goes on working.
        values |= {"hosts": [*dict.fromkeys([*kept["hosts"], *(host or ())])]}
        values |= {"ips": [*dict.fromkeys([*kept["ips"], *(ip or ())])]}
        settings = parse_settings({**kept, **values}, "the new settings")
        made = type(made)(made.path, settings)
    else:
        made = create_folder(folder, parse_settings(values, "mien server init"))
        settings = made.settings
        make_authority(made.tls, now)
    issue_server_certificate(made.tls, settings.hosts, settings.ips, days, now)
    save_settings(made)
    print(f"{'renewed' if renew else 'made'} {made.path}")
    if renew:
        print("start `mien server up` again to use the new certificate")
    print(f"give every site {made.ca_certificate} and the address NAME:{settings.port}")


@app.command()
def enrol(
    public_key: Annotated[
        Path, typer.Argument(metavar="PUBKEY", help="The site's public key, keys/site.pub in its folder.")
    ],
    name: Annotated[str, typer.Option(help="The site's name, as in its own `mien agent init --name`.")],
    folder: Dir = Path(),
) -> None:
    """Let a site join: from now on the holder of this key, and nobody else, is that site."""
    from mien_common.errors import FederationError
    from mien_server.control import Control
    from mien_server.enrolment import enrol as enrol_site
    from mien_server.enrolment import register
    from mien_server.folder import open_folder
    from mien_server.health import check_health

    opened = open_folder(folder)
    site = enrol_site(opened, public_key, name)
    try:
        check_health(opened)
    except FederationError:
        when = "it can join once the server is up"
    else:
        with Control(opened) as control:
            register(opened, control)
        when = "it can join now"
    print(f"enrolled {site.name} {site.fingerprint}; {when}")


@app.command()
def up(folder: Dir = Path()) -> None:
    """Run the server in the foreground until Ctrl-C or SIGTERM.

    Prints one line that starts with "ready" once agents can connect. Restarts what dies; logs are in
    DIR/logs.
    """
    import signal

    from mien_server.folder import open_folder
    from mien_server.logs import log_to_stderr
    from mien_server.superlink import serve

    opened = open_folder(folder)
    log_to_stderr()
    ended_by = serve(
        opened, lambda: print(f"ready: agents connect to port {opened.settings.port}", flush=True)
    )
    print("stopped", flush=True)
    if ended_by == signal.SIGINT:
        raise typer.Exit(130)


@app.command()
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
                print(json.dumps(event) if as_json else _line(event), flush=True)
    except KeyboardInterrupt:
        typer.echo("stopped the run", err=True)
        raise typer.Exit(130) from None


@app.command()
def models(
    folder: Dir = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per model.")] = False,
) -> None:
    """List the published models, oldest first."""
    from mien_server.folder import open_folder
    from mien_server.registry import list_models

    opened = open_folder(folder)
    found = list_models(opened.models)
    if not found and not as_json:
        print(f"no models yet in {opened.models}; `mien server run --rounds N` makes some")
    for model in found:
        card = model.card
        if as_json:
            print(
                json.dumps(
                    {"path": str(model.path), "latest": model.is_latest, **card.model_dump(mode="json")}
                )
            )
        else:
            ccc = "  ".join(f"{target} {_number(found.pooled)}" for target, found in card.ccc.items())
            mark = "  <- latest" if model.is_latest else ""
            when, figures = f"{card.created[:19]}  {card.run}", f"CCC (pooled) {ccc}"
            print(f"{when}  round {card.round:<4} {figures}  {model.path}{mark}")


@app.command()
def health(folder: Dir = Path()) -> None:
    """Exit with 0 if the server of this folder answers, with 1 if not."""
    from mien_server.folder import open_folder
    from mien_server.health import check_health

    opened = open_folder(folder)
    check_health(opened)
    print(f"the server of {opened.path} answers")


def _line(event: "Event") -> str:
    """One event for a person."""
    kind = event["event"]
    if kind == "started":
        enrolled = ", ".join(event["enrolled"])
        return f"run {event['run']}: {event['rounds']} rounds, rule {event['rule']}, enrolled: {enrolled}"
    if kind == "waiting":
        return f"waiting for {event['quorum']} sites; online: {', '.join(event['online']) or 'none'}"
    if kind == "round":
        ccc = "  ".join(f"{target} {_number(found['pooled'])}" for target, found in event["ccc"].items())
        sites = event["sites"]
        count = f"{len(sites['answered'])}/{len(sites['answered']) + len(sites['failed'])}"
        missed = sites["failed"] | event["evaluated"]["failed"]
        trouble = "".join(f"\n    {site}: {reason}" for site, reason in missed.items())
        return (
            f"round {event['round']:>3}/{event['rounds']}  {event['seconds']['total']:6.2f} s  sites {count} "
            f" loss {event['loss']['mean']:.3f}  CCC (pooled) {ccc}  up {_bytes(event['bytes_up'])}  "
            f"down {_bytes(event['bytes_down'])}{trouble}"
        )
    if kind == "round_failed":
        reasons = "; ".join(f"{site}: {reason}" for site, reason in event["sites"]["failed"].items())
        return (
            f"round {event['round']} stayed below its quorum of {event['quorum']} "
            f"(attempt {event['attempt']} of {event['attempts']}): {reasons}"
        )
    return f"run {event['run']} {kind}"


def _number(value: float | None) -> str:
    return "  -  " if value is None or value != value else f"{value:.3f}"


def _bytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
