"""``mien lab bench``: measured against peers."""

from pathlib import Path
from typing import Annotated

import typer


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
    training-speed: frames/s of local training, against a plain PyTorch loop; on a GPU against our own CPU.
    synthetic-federation: CCC of a federated GRU on the synthetic set, against a centralised one.
    simulation: seconds of a simulated round at 50 sites, against Flower's own simulation engine; memory.
    """
    import tempfile

    from mien_client.system_libraries import require_system_libraries

    require_system_libraries()
    from mien_common.errors import SettingsError
    from mien_server.logs import interrupt_on_signals

    from ..benchmarks.figures import benchmarks, write_figures

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
