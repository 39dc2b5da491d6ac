"""The demo: a whole federation on this machine, with real processes, from video to published model.

Videos of puppets go in, a published model and a summary come out, all in one folder. Each stage is
what a user would do by hand, with the same commands: a server, four sites with a folder, a key and an
agent each, TLS and enrolment, gRPC between them. Whatever was started is stopped, also on Ctrl-C.
"""

import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mien_common.errors import FederationError, StorageError
from mien_common.files import make_folder, storage_errors, write_atomic
from mien_common.messages import TrainingSettings
from mien_common.schema import AU_V1
from mien_lab.baselines import Score, local_only, mean_predictor
from mien_lab.commands import follow, mien, run_mien, run_side_by_side
from mien_lab.puppet import PARTICIPANT_FILE, PuppetSettings, make_puppets
from mien_server.processes import Child, Command, last_line

MARKER: Final = ".mien-demo"
START_PATIENCE_S: Final = 90.0
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
    _make_room(out)
    seconds: dict[str, float] = {}

    @contextmanager
    def stage(name: str, title: str) -> Iterator[None]:
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
        make_puppets(puppets, videos, None, lambda done, total: bar("animating", done, total))
    with stage("enrolment", f"2/5 A server and {settings.participants} sites: certificates, keys, enrolment"):
        server, sites = _make_federation(out, videos, settings)
    with stage("features", "3/5 Each site turns its video into action units, in a process without a network"):
        _ingest(videos, sites, settings, bar)
    with stage("federation", "4/5 Federated training: Flower over gRPC, TLS, one key a site"):
        events = _federate(out, server, sites, settings, show)
    with stage("baselines", "5/5 For comparison: each site alone, with as many epochs on the same sessions"):
        local = local_only(sites, settings.training, settings.rounds, settings.seed)
        constant = mean_predictor(sites)
    rounds = [event for event in events if event["event"] == "round"]
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
        model=server / "models" / "latest",
    )
    write_atomic(out / "summary.json", (json.dumps(result.summary(), indent=2) + "\n").encode())
    return result


def _make_room(out: Path) -> None:
    if out.exists() and any(out.iterdir()) and not (out / MARKER).exists():
        raise StorageError(f"{out} is not empty and no demo made it. Choose another --out, or empty it.")
    with storage_errors(out):
        shutil.rmtree(out, ignore_errors=True)
        make_folder(out)
        (out / MARKER).touch()


def _make_federation(out: Path, videos: Path, settings: DemoSettings) -> tuple[Path, list[Path]]:
    server = out / "server"
    port, control_port = _free_ports(2)
    run_mien(
        *("server", "init", server, "--listen", "127.0.0.1"),
        *("--port", port, "--control-port", control_port),
    )
    sites = []
    for number in range(1, settings.participants + 1):
        site = out / "sites" / f"lab-{number}"
        puppet = json.loads((videos / f"participant-{number:02d}" / PARTICIPANT_FILE).read_text())
        make_folder(site.parent)
        run_mien(
            *("agent", "init", site, "--name", site.name, "--server", f"127.0.0.1:{port}"),
            *("--ca", server / "tls" / "ca.crt", "--lag-s", puppet["lag_s"]),
        )
        run_mien("server", "enrol", site / "keys" / "site.pub", "--name", site.name, "--dir", server)
        sites.append(site)
    return server, sites


def _ingest(videos: Path, sites: list[Path], settings: DemoSettings, bar: Bar) -> None:
    """Every site ingests its participant's videos; two at a time, the last session held out."""
    commands = []
    for number, site in enumerate(sites, start=1):
        for session in range(1, settings.sessions + 1):
            video = videos / f"participant-{number:02d}" / f"session-{session:02d}.avi"
            held_out = ["--held-out"] if session == settings.sessions else []
            ratings = video.with_suffix(".csv")
            commands.append(
                mien("agent", "ingest", video, "--ratings", ratings, "--site", site, "--json", *held_out)
            )
    done: dict[int, int] = {}
    per_video = round(settings.seconds * AU_V1.rate_hz)

    def take(index: int, line: str) -> None:
        event = json.loads(line)
        done[index] = event["frames"] if event["event"] == "progress" else per_video
        bar("analysing", sum(done.values()), per_video * len(commands))

    run_side_by_side(commands, take)


def _federate(
    out: Path, server: Path, sites: list[Path], settings: DemoSettings, show: Show
) -> list[dict[str, Any]]:
    """Server and agents up, one run to its end, all of them down again; the run's events."""
    logs = make_folder(out / "logs")
    training = settings.training
    with ExitStack() as started:
        up = _keep_up("server", mien("server", "up", "--dir", server), logs, started)
        _wait_for("ready", up)
        agents = [_keep_up(site.name, mien("agent", "join", "--site", site), logs, started) for site in sites]
        for agent in agents:  # all of them, so that the first round has every site and repeats exactly
            _wait_for("joined", agent)
        events = []
        command = mien(
            *(
                "server",
                "run",
                "--rounds",
                settings.rounds,
                "--seed",
                settings.seed,
                "--dir",
                server,
                "--json",
            ),
            *("--deadline", ROUND_DEADLINE_S, "--local-epochs", training.local_epochs),
            *("--learning-rate", training.learning_rate, "--window-s", training.window_s),
        )
        with closing(follow(command)) as lines:
            for line in lines:
                events.append(json.loads(line))
                show(events[-1])
        return events


def _keep_up(name: str, arguments: list[str], logs: Path, started: ExitStack) -> Child:
    child = Child(Command(name, arguments, os.environ, logs / f"{name}.log"))
    started.callback(child.stop)
    child.start()
    return child


def _wait_for(word: str, child: Child) -> None:
    """Wait until the child's log holds ``word``."""
    end = time.monotonic() + START_PATIENCE_S
    log = child.command.log_file
    while word not in log.read_text(errors="replace"):
        if child.process is None or child.process.poll() is not None or time.monotonic() > end:
            raise FederationError(f"{child.command.name} did not come up: {last_line(log)}. Its log: {log}")
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens on now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [int(free.getsockname()[1]) for free in sockets]


def _score(event: dict[str, Any], rule: str) -> Score:
    def number(target: str) -> float:
        value = event["ccc"][target][rule]
        return float("nan") if value is None else float(value)

    return Score(number("valence"), number("arousal"))
