"""``mien lab``: demo data, the demo federation, benchmarks."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True, help="Many clients on one machine: demo data, the demo federation, benchmarks."
)


@app.callback()
def lab() -> None:
    """Many clients on one machine: demo data, the demo federation, benchmarks."""


@app.command()
def puppet(
    out: Annotated[Path, typer.Option(help="Folder to make; an earlier data set there is replaced.")],
    participants: Annotated[int, typer.Option(help="How many puppets.")] = 4,
    seconds: Annotated[float, typer.Option(help="Length of each session.")] = 60.0,
    sessions: Annotated[int, typer.Option(help="Sessions per participant.")] = 3,
    rest_s: Annotated[
        float,
        typer.Option("--rest-s", help="Film each resting face this long, too: rest.avi, to calibrate by."),
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed makes the same files, byte for byte.")] = 7,
    photo: Annotated[
        Path | None, typer.Option(help="A portrait to animate instead of the public-domain astronaut.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines instead of text, for programs.")
    ] = False,
) -> None:
    """Make demo data: videos and ratings of a puppeteered photograph.

    A photograph's face is warped to follow a random script of valence and arousal. That is real input
    for the whole path from video to model, and no evidence about people.
    """
    from mien_client.system_libraries import require_system_libraries

    require_system_libraries()
    from .puppet import make_puppets, settings_from
    from .puppet_script import NOTE

    settings = settings_from(
        participants=participants, seconds=seconds, sessions=sessions, rest_s=rest_s, seed=seed
    )
    if as_json:
        _json("start", note=NOTE, frames=settings.frames)
    else:
        print(NOTE)
    with _progress("rendering", as_json) as progress:
        made = make_puppets(settings, out, photo, progress)
    if as_json:
        videos = [str(video) for video in made.videos]
        _json("done", out=str(made.folder), videos=videos, frames=made.frames, bytes=made.bytes)
        return
    size_mb = made.bytes / 1e6
    print(f"{len(made.videos)} videos of {participants} participants in {made.folder}, {size_mb:.0f} MB")


@app.command()
def calibration_gain(
    clips: Annotated[
        Path | None,
        typer.Option(help="Real clips to measure too: a folder per person, at least two clips in each."),
    ] = None,
) -> None:
    """Measure whether a neutral face helps: how far people differ when they do the same thing.

    Two puppets with different resting faces show the same six expressions; the figures are mean distances
    between their action units, on the scale of 0 to 5. With --clips: standard deviations between people
    of their clips' median action units. Takes a minute, and two more for 20 short clips.
    """
    from mien_client.system_libraries import require_system_libraries

    require_system_libraries()
    from .calibration_gain import Agreement, between_people, between_puppets

    def row(what: str, found: Agreement) -> str:
        return f"{what:<34}{found.raw:>7.3f}{found.running:>10.3f}{found.calibration:>14.3f}"

    print(f"{'':<34}{'raw':>7}{'running':>10}{'calibration':>14}")
    print(row("two puppets, first 12 s of film", between_puppets(rest_s=6.0, hold_s=1.0, rounds=1)))
    print(row("the same, after a minute", between_puppets(rest_s=6.0, hold_s=1.0, rounds=5)))
    if clips is not None:
        found, people, films = between_people(clips, lambda _: None)
        print(row(f"{people} people, {films} clips", found))


@app.command()
def missing(
    clips: Annotated[Path | None, typer.Option(help="Real clips to count too: a folder per person.")] = None,
) -> None:
    """When is a face missing, and is that right? Prints the figures of docs/missing.md.

    How well action units hold as a puppet's face gets smaller and darker; how often a hand before it is
    noticed, and how often one is where there is none. With --clips: what is found in each, and what the
    bare landmarker finds. Takes two minutes, and two more for 20 short clips.
    """
    from mien_client.system_libraries import require_system_libraries

    require_system_libraries()
    from . import missing as figures

    def working(what: str) -> None:
        typer.echo(f"  {what} …", err=True)

    puppet_frames = figures.lively_puppet()
    print(f"{'':<16}{'width px':>9}{'light':>7}{'found':>7}{'error':>7}{'jitter':>8}{'CCC':>7}")
    for one in figures.smaller_and_darker(puppet_frames, working):
        print(
            f"{one.condition:<16}{one.width_px:>9.0f}{one.luminance:>7.0f}{one.found:>7.2f}"
            f"{one.error:>7.2f}{one.jitter:>8.3f}{one.ccc:>7.2f}"
        )
    print(f"\n{'a hand over':<16}{'missing':>9}{'falsely':>9}")
    for hand in figures.hands(puppet_frames, working):
        print(f"{hand.part:<16}{hand.missing:>9.2f}{hand.falsely:>9.3f}")
    if clips is None:
        return
    print(f"\n{'clip':<44}{'frames':>7}{'stock':>7}{'found':>7}{'faces':>7}  states")
    for clip in figures.clips(clips, working):
        states = ", ".join(f"{name} {count}" for name, count in sorted(clip.states.items()))
        print(f"{clip.name:<44}{clip.frames:>7}{clip.stock:>7}{clip.found:>7}{clip.faces:>7}  {states}")


@app.command("au-response")
def au_response(
    out: Annotated[
        Path | None, typer.Option(help="Folder for the figures: au-response.csv and au-response.png.")
    ] = None,
    photo: Annotated[
        Path | None, typer.Option(help="A portrait to animate instead of the public-domain astronaut.")
    ] = None,
) -> None:
    """Does each action unit answer when it is driven, and no other? Prints the response matrix.

    A puppeteered photograph shows one action unit at a time: frontal, turned by 20 degrees to either side,
    and with a face of 66 and of 300 pixels. Exits with 1 where a unit that counts does not answer more than
    3 times as strongly as every other that is not coupled to it.
    """
    from mien_client.system_libraries import require_system_libraries

    require_system_libraries()
    from .au_response import CONDITIONS, as_csv, heat_map, measure_responses
    from .au_response_screen import show

    with _progress("measuring", as_json=False) as progress:
        responses = measure_responses(CONDITIONS, progress, photo)
    passed = show(responses)
    if out is not None:
        from mien_common.files import storage_errors, write_atomic

        with storage_errors(out):
            out.mkdir(parents=True, exist_ok=True)
        write_atomic(out / "au-response.csv", as_csv(responses))
        write_atomic(out / "au-response.png", heat_map(responses))
        print(f"wrote {out / 'au-response.csv'} and {out / 'au-response.png'}")
    if not passed:
        raise typer.Exit(1)


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for all the demo makes; an earlier demo there goes.")
    ] = Path(".demo"),
    participants: Annotated[int, typer.Option(min=2, max=16, help="Sites, each with one puppet.")] = 4,
    sessions: Annotated[
        int, typer.Option(min=2, max=20, help="Sessions per site; the last is held out.")
    ] = 2,
    seconds: Annotated[float, typer.Option(min=15, max=600, help="Length of each session.")] = 30.0,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Rounds of federated training.")] = 15,
    seed: Annotated[
        int, typer.Option(min=0, help="The same seed on one machine gives the same figures.")
    ] = 7,
) -> None:
    """Run a whole federation on this machine, from video to published model.

    One Flower server, one agent per site in processes of their own, TLS, enrolled keys, gRPC. The videos
    are a puppeteered photograph: good for testing the whole path, no evidence about people. Ctrl-C stops
    everything.
    """
    from mien_client.system_libraries import require_system_libraries

    require_system_libraries()
    from mien_server.logs import interrupt_on_signals

    from .demo import DemoSettings, run_demo
    from .demo_screen import DemoScreen

    settings = DemoSettings(
        participants=participants, sessions=sessions, seconds=seconds, rounds=rounds, seed=seed
    )
    interrupt_on_signals()
    with DemoScreen() as screen:
        try:
            result = run_demo(settings, out, screen.say, screen.bar, screen.event)
        except KeyboardInterrupt:
            screen.say("stopped; nothing is left running")
            raise typer.Exit(130) from None
        screen.result(result, out)


@app.command()
def bench(
    only: Annotated[
        list[str] | None, typer.Option(help="Run only this benchmark; give it once per name.")
    ] = None,
    out: Annotated[Path, typer.Option(help="File for the figures.")] = Path("bench.json"),
) -> None:
    """Measure us against peers on this machine, print the ratios, write bench.json.

    round-overhead: seconds of a federated round, against Flower's own flower-supernode.
    ingest-speed: frames/s of ingest on one core, against bare MediaPipe FaceLandmarker, and py-feat's own.
    ingest-memory: peak memory of ingesting half an hour, against a minute.
    watch-latency: ms from frame to prediction in watch, at 30 frames/s on one core, against its limits.
    """
    import tempfile

    from mien_client.system_libraries import require_system_libraries

    require_system_libraries()
    from mien_common.errors import SettingsError
    from mien_server.logs import interrupt_on_signals

    from .bench import benchmarks, write_figures

    known = benchmarks()
    unknown = sorted(set(only or ()) - set(known))
    if unknown:
        raise SettingsError(f"no benchmark {unknown[0]!r}; there are {', '.join(known)}")
    interrupt_on_signals()
    figures = []
    try:
        with tempfile.TemporaryDirectory(prefix="mien-bench-") as folder:
            for name in only or known:
                print(name, flush=True)
                made = known[name](Path(folder) / name, lambda line: print(line, flush=True))
                for found in made if isinstance(made, tuple) else (made,):
                    figures.append(found)
                    verdict = "reached" if found.reached else "MISSED"
                    print(f"  {found.value:g} {found.unit}; {found.peer}: {found.peer_value:g} {found.unit}")
                    print(f"  {found.ratio:g} times as good, goal {found.goal:g}: {verdict}", flush=True)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    write_figures(out, figures)
    print(f"wrote {out}")


def _json(event: str, **values: object) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


@contextmanager
def _progress(what: str, as_json: bool) -> Iterator[Callable[[int, int], None]]:
    """A function that shows frames done and frames in total: a bar, or JSON lines."""
    if as_json:
        yield lambda frames, total: _json("progress", frames=frames, total=total)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task(what, total=None)
        yield lambda frames, total: bar.update(task, completed=frames, total=total)
