"""``mien lab compare``: one command per table of a paper."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from mien_lab.corpora.corpus import Corpus

    from ..compare_screen import CompareScreen, JsonLines
    from ..experiments.config import Config
    from ..experiments.splits import Fold

LEAK_ROUNDS: Final = 3
"""Of a fit that is only looked at for leaks."""


def compare(
    config: Annotated[
        Path | None, typer.Argument(help="TOML file that says what to compare.", show_default=False)
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="A comparison that is ready: mase2021, avec2016, puppet or synthetic.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the data; in place of corpus.path.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for runs and report; results/NAME when omitted.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Runs at a time; one per core when omitted, on a GPU one."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove what an earlier comparison left in OUT.")] = (
        False
    ),
    check_leaks: Annotated[
        bool,
        typer.Option(
            "--check-leaks",
            help="First fit with rubbish for the test people, too: nothing may change.",
        ),
    ] = False,
    print_: Annotated[
        bool, typer.Option("--print", help="Print the comparison as TOML, to save and edit, and do nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, for programs.")] = False,
) -> None:
    """Train models by several methods, compare them on people they have not seen.

    Models × {centralised, federated, local-only} × seeds × folds, by the code
    that agents and server run. Give a TOML file, or --preset NAME (with --data
    where it reads somebody's); --preset NAME --print shows one to edit.

    OUT then holds summary.md, tables (Markdown, LaTeX, CSV), plots and every
    prediction. Stopped by Ctrl-C or a power cut, the same command goes on from
    there. docs/compare.md explains every key.
    """
    from mien_common.errors import SettingsError

    from ..experiments.presets import PRESETS, preset_text

    if (config is None) == (preset is None):
        raise SettingsError(f"give a TOML file or --preset, one of the two. Presets: {', '.join(PRESETS)}.")
    if print_:
        print(
            preset_text(preset, data) if preset is not None else _text(_read(config, None, data)[0]), end=""
        )
        return
    from mien_server.logs import interrupt_on_signals

    from ..experiments.comparison import jobs, run_comparison, workers_for

    chosen, source = _read(config, preset, data)
    interrupt_on_signals()
    folder = out or Path("results") / chosen.name.replace(" ", "_")
    try:
        with _named(source):
            count = workers_for(chosen, workers)
            corpus = _opened(chosen, folder.parent / "made-data", as_json)
            jobs(chosen, corpus)
        screen = _screen(chosen, corpus, as_json)
        with screen:
            if check_leaks:
                _check_leaks(chosen, corpus, screen)
            result = run_comparison(chosen, corpus, folder, count, screen, fresh=fresh)
        screen.result(result, folder)
    except KeyboardInterrupt:
        print(f"stopped; runs that are done are kept in {folder}", file=sys.stderr)
        raise typer.Exit(130) from None
    if result.interrupted or result.failed:
        raise typer.Exit(130 if result.interrupted else 1)


def _read(config: Path | None, preset_name: str | None, data: Path | None) -> tuple["Config", str]:
    """The comparison, and what messages call it."""
    from mien_common.errors import SettingsError

    from ..experiments.config import MADE, read_config
    from ..experiments.presets import preset

    if config is None:
        return preset(preset_name or "", data)[0], f"preset {preset_name}"
    chosen = read_config(config)
    if data is None:
        return chosen, str(config)
    if chosen.corpus.kind in MADE:
        raise SettingsError(f"{config}: {chosen.corpus.kind} data are made, not read. Leave --data out.")
    corpus = chosen.corpus.model_copy(update={"path": data.expanduser().resolve()})
    return chosen.model_copy(update={"corpus": corpus}), str(config)


def _text(config: "Config") -> str:
    import tomli_w

    return tomli_w.dumps(config.model_dump(mode="json", exclude_unset=True))


@contextmanager
def _named(source: str) -> Iterator[None]:
    """Begin a message about a key with the file that the key is in."""
    from mien_common.errors import SettingsError

    try:
        yield
    except SettingsError as error:
        raise SettingsError(f"{source}: {error}") from error


def _opened(config: "Config", cache: Path, as_json: bool) -> "Corpus":
    """The corpus; with a bar while puppets are filmed."""
    from ..corpora.opening import open_corpus
    from .options import progress_bar

    if config.corpus.kind != "puppet":
        return open_corpus(config.corpus, Path(), cache=cache)
    from mien_client.system_libraries import require_system_libraries

    require_system_libraries()
    with progress_bar("making puppets", as_json) as show:
        return open_corpus(
            config.corpus, Path(), cache=cache, progress=lambda _stage, done, total: show(done, total)
        )


def _screen(config: "Config", corpus: "Corpus", as_json: bool) -> "CompareScreen | JsonLines":
    from ..compare_screen import CompareScreen, JsonLines

    return (JsonLines if as_json else CompareScreen)(config, corpus.note)


def _check_leaks(config: "Config", corpus: "Corpus", screen: "CompareScreen | JsonLines") -> None:
    """Fit every model by every method on the first fold, and again with rubbish for its test people."""
    import torch

    from ..experiments.leaks import find_leaks
    from ..experiments.methods import run_fold
    from ..experiments.outcome import Job
    from ..experiments.splits import folds

    torch.set_num_threads(1)
    short = config.model_copy(update={"rounds": min(config.rounds, LEAK_ROUNDS), "patience": None})
    fold = folds(corpus, config.split)[0]
    for model in config.models:
        for method in config.methods:
            job = Job(model.name, method.name, config.seeds[0], fold.name)

            def fit(data: "Corpus", part: "Fold", job: Job = job) -> Mapping[str, str]:
                return run_fold(job, data, part, short).fingerprints

            find_leaks(corpus, fold, fit)
            screen.say(
                f"no leak: {method.name} with {model.name}, fold {fold.name}, {short.rounds} rounds: with "
                "rubbish in the place of the test recordings all that is fitted stays the same"
            )
