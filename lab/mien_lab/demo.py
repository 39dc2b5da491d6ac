"""The demo: a whole federation on this machine, with real processes, from video to published model.

Videos of puppets go in, a published model and a summary come out, all in one folder. Each stage is
what a user would do by hand, with the same commands: a server, four sites with a folder, a key and an
agent each, TLS and enrolment, gRPC between them. Whatever was started is stopped, also on Ctrl-C.
"""

import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mien_common.errors import SettingsError, StorageError
from mien_common.files import make_folder, storage_errors, write_atomic
from mien_common.messages import TrainingSettings
from mien_common.schema import AU_V1
from mien_lab.baselines import Score, local_only, mean_predictor
from mien_lab.federation import Federation
from mien_lab.mien_command import mien, run_side_by_side
from mien_lab.puppet import PARTICIPANT_FILE, PuppetSettings, make_puppets
from mien_server.logs import raise_if_interrupted

MARKER: Final = ".mien-demo"
ROUND_DEADLINE_S: Final = 60

Say = Callable[[str], None]
Bar = Callable[[str, int, int], None]
"""Called with a stage's name, frames done and frames in all."""
Show = Callable[[dict[str, Any]], None]
"""Called with each event of the run, as ``mien server run --json`` prints it."""


@dataclass(frozen=True)
class DemoSettings:
    """What the demo runs."""

    participants: int = 4
    sessions: int = 2
    """Per participant; the last one is held out."""
    seconds: float = 30.0
    """Of each session."""
    rounds: int = 15
    seed: int = 7
    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(window_s=6.0))


@dataclass(frozen=True)
class DemoResult:
    """What the demo found; CCC on held-out sessions, mean over recordings."""

    federated: Score
    federated_pooled: Score
    local_mean: Score
    mean_predictor: Score
    rounds: int
    seconds: dict[str, float]
    bytes_up: int
    bytes_down: int
    model: Path

    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` holds."""
        return {
            "federated": self.federated.as_dict(),
            "federated_pooled": self.federated_pooled.as_dict(),
            "local_mean": self.local_mean.as_dict(),
            "mean_predictor": self.mean_predictor.as_dict(),
            "ccc": "held-out sessions, mean over recordings; pooled where named so",
            "data": "synthetic: a puppeteered photograph, no evidence about people",
            "rounds": self.rounds,
            "seconds": self.seconds,
            "bytes_up": self.bytes_up,
            "bytes_down": self.bytes_down,
            "model": str(self.model),
        }


def run_demo(settings: DemoSettings, out: Path, say: Say, bar: Bar, show: Show) -> DemoResult:
    """Run the demo in ``out``, which is emptied first when an earlier demo made it.

    Parameters
    ----------
    say : takes a line for the user.
    bar : takes progress while frames are made and analysed.
    show : takes every event of the run, as ``mien server run --json`` prints them.

    Raises
    ------
    StorageError
        ``out`` holds something that no demo made, or cannot be written.
    FederationError
        A process died, or the run failed.
    """
    with _only_demo(out):
        return _run(settings, out, say, bar, show)


def _run(settings: DemoSettings, out: Path, say: Say, bar: Bar, show: Show) -> DemoResult:
    seconds: dict[str, float] = {}

    @contextmanager
    def stage(name: str, title: str) -> Iterator[None]:
        raise_if_interrupted()
        say(title)
        started = time.monotonic()
        yield
        seconds[name] = round(time.monotonic() - started, 1)
        say(f"  {seconds[name]:.0f} s")

    with stage("videos", "1/5 Videos: a public-domain photograph, animated (no evidence about people)"):
        puppets = PuppetSettings(
            participants=settings.participants,
            sessions=settings.sessions,
            seconds=settings.seconds,
            seed=settings.seed,
        )
        videos = out / "videos"

        def animated(done: int, total: int) -> None:
            raise_if_interrupted()
            bar("animating", done, total)

        make_puppets(puppets, videos, None, animated)
        people = sorted(folder for folder in videos.iterdir() if folder.is_dir())
    with stage("enrolment", f"2/5 A server and {settings.participants} sites: certificates, keys, enrolment"):
        federation = Federation(out)
        names = [f"lab-{number}" for number in range(1, settings.participants + 1)]
        federation.create({name: _lag_s(folder) for name, folder in zip(names, people, strict=True)})
    with stage("features", "3/5 Each site turns its video into action units, in a process without a network"):
        sites = [federation.site(name) for name in names]
        _ingest(people, sites, settings, bar)
    with stage("federation", "4/5 Federated training: Flower over gRPC, TLS, one key a site"):
        rounds = _federate(federation, names, settings, say, show)
    with stage("baselines", "5/5 For comparison: each site alone, with as many epochs on the same sessions"):
        local = local_only(sites, settings.training, settings.rounds, settings.seed)
        constant = mean_predictor(sites)
    seconds["total"] = round(sum(seconds.values()), 1)
    result = DemoResult(
        federated=_score(rounds[-1], "mean_over_recordings"),
        federated_pooled=_score(rounds[-1], "pooled"),
        local_mean=local,
        mean_predictor=constant,
        rounds=len(rounds),
        seconds=seconds,
        bytes_up=sum(event["bytes_up"] for event in rounds),
        bytes_down=sum(event["bytes_down"] for event in rounds),
        model=federation.server / "models" / "latest",
    )
    write_atomic(out / "summary.json", (json.dumps(result.summary(), indent=2) + "\n").encode())
    return result


@contextmanager
def _only_demo(out: Path) -> Iterator[None]:
    """An empty ``out`` that no other demo uses."""
    if out.exists() and any(out.iterdir()) and not (out / MARKER).exists():
        raise StorageError(f"{out} is not empty and no demo made it. Choose another --out, or empty it.")
    make_folder(out)
    with storage_errors(out):
        marker = (out / MARKER).open("w")
    with marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError(
                f"another demo is running in {out}. Wait for it, or choose another --out."
            ) from error
        with storage_errors(out):
            for entry in out.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                elif entry.name != MARKER:
                    entry.unlink()
        yield


def _ingest(people: list[Path], sites: list[Path], settings: DemoSettings, bar: Bar) -> None:
    """Every site ingests its participant's videos; two at a time, the last session held out."""
    commands = []
    for folder, site in zip(people, sites, strict=True):
        for session in range(1, settings.sessions + 1):
            video = folder / f"session-{session:02d}.avi"
            held_out = ["--held-out"] if session == settings.sessions else []
            ratings = video.with_suffix(".csv")
            commands.append(
                mien("agent", "ingest", video, "--ratings", ratings, "--site", site, "--json", *held_out)
            )
    done: dict[int, int] = {}
    per_video = round(settings.seconds * AU_V1.rate_hz)

    def take(index: int, line: str) -> None:
        event = json.loads(line)
        if event["event"] in ("progress", "done"):  # the clock may have a frame more than the video
            done[index] = min(event["frames"], per_video)
        bar("analysing", sum(done.values()), per_video * len(commands))

    run_side_by_side(commands, take)


def _federate(
    federation: Federation, names: list[str], settings: DemoSettings, say: Say, show: Show
) -> list[dict[str, Any]]:
    """Server and agents up, one run to its end, all of them down again; the run's rounds."""
    training = settings.training
    with federation:
        federation.up()
        page, token = federation.page()
        say(f"  watch it: {page} while this goes on, token {token}")
        federation.join(names)
        events = federation.run(
            *("--rounds", settings.rounds, "--seed", settings.seed, "--deadline", ROUND_DEADLINE_S),
            *("--local-epochs", training.local_epochs, "--learning-rate", training.learning_rate),
            *("--window-s", training.window_s),
        )
        rounds = []
        with closing(events):
            for event in events:
                show(event)
                if event["event"] == "round":
                    rounds.append(event)
        return rounds


def _lag_s(puppet: Path) -> float:
    """The lag the puppet's ratings were made with; a real site would know or estimate its own."""
    return float(json.loads((puppet / PARTICIPANT_FILE).read_text())["lag_s"])


def _score(event: dict[str, Any], rule: str) -> Score:
    def number(target: str) -> float:
        value = event["ccc"][target][rule]
        return float("nan") if value is None else float(value)

    return Score(number("valence"), number("arousal"))
