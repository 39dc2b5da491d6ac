"""``mien server run``: a run is started, or taken up again, and followed."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .event_lines import line_of
from .options import Dir
from .run_options import (
    Beta1,
    Beta2,
    Bidirectional,
    ByzantineSites,
    Deadline,
    Evaluate,
    Fraction,
    HiddenUnits,
    Layers,
    LearningRate,
    LocalEpochs,
    Model,
    ProximalMu,
    Quorum,
    Residual,
    Rounds,
    Rule,
    Seed,
    SelectedSites,
    ServerLearningRate,
    ServerMomentum,
    Tau,
    TrimmedShare,
    Wait,
    WeightingOption,
    WindowS,
    given,
)

if TYPE_CHECKING:
    from mien_server.folder import ServerFolder
    from mien_server.runs.settings import RunSettings


def run(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE.toml | RUN]",
            help="A file with the run's settings; options override it. With --resume also the run's name.",
            show_default=False,
        ),
    ] = None,
    rounds: Rounds = None,
    quorum: Quorum = None,
    deadline: Deadline = None,
    wait: Wait = None,
    fraction: Fraction = None,
    seed: Seed = None,
    evaluate: Evaluate = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Start at this time, like 2026-11-24T22:00, in this machine's zone or one you name.",
            show_default="at once",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Take up a run that was stopped, failed or died, with its own settings: RUN, or the newest.",
        ),
    ] = False,
    detach: Annotated[
        bool,
        typer.Option(
            "--detach",
            help="Print the run's name and leave it to the server; `mien server show RUN --follow` shows it.",
        ),
    ] = False,
    local_epochs: LocalEpochs = None,
    learning_rate: LearningRate = None,
    window_s: WindowS = None,
    model: Model = None,
    bidirectional: Bidirectional = None,
    residual: Residual = None,
    hidden_units: HiddenUnits = None,
    layers: Layers = None,
    rule: Rule = None,
    weighting: WeightingOption = None,
    proximal_mu: ProximalMu = None,
    server_learning_rate: ServerLearningRate = None,
    server_momentum: ServerMomentum = None,
    beta_1: Beta1 = None,
    beta_2: Beta2 = None,
    tau: Tau = None,
    trimmed_share: TrimmedShare = None,
    byzantine_sites: ByzantineSites = None,
    selected_sites: SelectedSites = None,
    folder: Dir = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the run's events as JSON lines.")] = False,
) -> None:
    """Train a global model: start a run on the running server and follow it to its end.

    Its settings come from a file, from options, or both. One run goes on at a time; another waits for its
    turn. Every round's model is published in DIR/models. Ctrl-C stops the run; the rounds that are done stay
    published, and --resume goes on after the last of them.
    """
    from mien_server.folder import open_folder
    from mien_server.runs.start import check_ready

    options = given(
        {
            "rounds": rounds,
            "quorum": quorum,
            "deadline_s": deadline,
            "wait_s": wait,
            "fraction": fraction,
            "seed": seed,
            "evaluate": evaluate,
            "training": {
                "local_epochs": local_epochs,
                "learning_rate": learning_rate,
                "window_s": window_s,
            },
            "architecture": {
                "kind": model,
                "bidirectional": bidirectional,
                "residual": residual,
                "hidden_units": hidden_units,
                "layers": layers,
            },
            "rule": {
                "name": rule,
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
            },
        }
    )
    opened = open_folder(folder)
    wish = _Wish(opened, what, options, at, resume)
    _show(wish.settings, what is not None or resume)
    check_ready(opened, wish.settings)
    name = wish.submit()
    if detach:
        print(json.dumps({"event": "submitted", "run": name}) if as_json else name)
        return
    _follow(opened, name, as_json)


class _Wish:
    """What the operator wants to run, checked before anything is started."""

    def __init__(
        self, folder: "ServerFolder", what: str | None, options: dict[str, Any], at: str | None, resume: bool
    ) -> None:
        import datetime as dt

        from mien_common.errors import SettingsError
        from mien_server.membership.enrolment import read_sites
        from mien_server.runs.file import Source, locations, merged, read_run_file, start_time
        from mien_server.runs.record import check_unfinished, run_to_resume
        from mien_server.runs.settings import check_same, checked, read_run, run_folder

        is_file = what is not None and (what.endswith(".toml") or not resume)
        file = read_run_file(Path(what)) if what is not None and is_file else None
        source = Source(file.path if file else None, frozenset(locations(options)))
        values = merged(file.values, options) if file else options
        self._folder = folder
        self._now = dt.datetime.now(dt.UTC)
        when = at if at is not None else file.at if file is not None and not resume else None
        named = "--at" if at is not None or file is None else f"{file.path}: at"
        self._not_before = None if when is None else start_time(when, named, self._now)
        self._again: str | None = None
        if resume:
            self._again = run_to_resume(folder) if what is None or is_file else what
            self.settings = read_run(run_folder(folder, self._again))
            check_unfinished(folder, self._again)
            check_same(values, self.settings, self._again, source)
            return
        if file is None and "rounds" not in values:
            raise SettingsError(
                "how many rounds? Give --rounds 20, or a file with settings: mien server run run.toml"
            )
        self.settings = checked(values, enrolled=len(read_sites(folder)), source=source)

    def submit(self) -> str:
        """Put it into the queue; the run's name."""
        from mien_server.runs.queue import submit, submit_again

        if self._again is None:
            return submit(self._folder, self.settings, self._now, self._not_before)
        if not submit_again(self._folder, self._again, self._now, self._not_before):
            typer.echo(f"the run {self._again} waits or goes on already: following it", err=True)
        return self._again


def _show(settings: "RunSettings", in_full: bool) -> None:
    """Say what will be run, before it is: on standard error, so that --json stays JSON."""
    import tomli_w

    from mien_server.runs.settings import in_words

    if in_full:
        typer.echo(tomli_w.dumps(in_words(settings)).rstrip() + "\n", err=True)
    if not settings.architecture.streams:
        typer.echo(
            f"warning: the model ({settings.architecture.in_words}) needs whole recordings: the sites can "
            "use it with `mien agent predict` and `plot`, but not live, with `mien agent watch`",
            err=True,
        )


def _follow(folder: "ServerFolder", name: str, as_json: bool) -> None:
    import contextlib

    from mien_server.logs import interrupt_on_signals
    from mien_server.runs.record import read_record
    from mien_server.runs.watch import conduct

    interrupt_on_signals()
    try:
        with contextlib.closing(conduct(folder, name)) as events:
            for event in events:
                line = json.dumps(event) if as_json else line_of(event)
                if line:
                    print(line, flush=True)
    except KeyboardInterrupt:
        still = read_record(folder, name).state == "running"
        word = "told the run to stop, and its server sees to it" if still else "stopped the run"
        typer.echo(f"{word}; it goes on with: mien server run --resume {name}", err=True)
        raise typer.Exit(130) from None
