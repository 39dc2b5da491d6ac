"""``mien lab simulate``: very many tiny sites on one machine."""

from typing import Annotated

import typer


def simulate(
    sites: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Tiny sites, each an invented person.")
    ] = 1000,
    rounds: Annotated[int, typer.Option(min=1, max=10_000)] = 10,
    rule: Annotated[
        str, typer.Option(help="Federated rule: fedavg, fedprox, fedadam, median, krum, …")
    ] = "fedavg",
    byzantine_sites: Annotated[
        int, typer.Option(min=0, help="How many sites krum, multi-krum and bulyan allow to be hostile.")
    ] = 0,
    participation: Annotated[float, typer.Option(help="Share of sites asked in a round.")] = 1.0,
    seconds: Annotated[
        float, typer.Option(min=5, max=3600, help="Mean length of a site's recording.")
    ] = 12.0,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes that train; one per core when omitted.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same model, whatever --workers.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines.")] = False,
) -> None:
    """Train a small GRU over very many tiny sites, as the agents would, and by the server's own rule.

    Sites are trained side by side, up to 25 in the same tensors, each with
    weights, windows and optimiser of its own: the numbers of the agents' own
    training to rounding, in a fraction of its time. A block's data are made when
    its turn comes, so memory does not grow with the number of sites (but for the
    robust rules, which look at all updates together). The sites are people of the
    synthetic set: no evidence about real ones. Ctrl-C stops everything.
    """
    import os
    from typing import get_args

    from mien_client.system_libraries import require_system_libraries

    require_system_libraries()
    from mien_common.errors import SettingsError
    from mien_server.logs import interrupt_on_signals
    from mien_server.rules.settings import USES, RuleName, RuleSettings

    from ..simulation import ALL_AT_ONCE, SimulatedRound, SimulationSettings
    from ..simulation import simulate as run_simulation
    from .options import print_json

    if rule not in get_args(RuleName):
        raise SettingsError(
            f"--rule {rule}: there is no such rule. Take one of {', '.join(get_args(RuleName))}."
        )
    allows_hostile = any(rule == name and "byzantine_sites" in numbers for name, numbers in USES.items())
    if allows_hostile and not byzantine_sites:
        raise SettingsError(
            f"--byzantine-sites: tell {rule} how many sites may be hostile, at least 1. "
            "If none can be, take --rule fedavg."
        )
    if byzantine_sites and not allows_hostile:
        raise SettingsError(f"--byzantine-sites: --rule {rule} does not look at it. Leave it out.")
    if not 0 < participation <= 1:
        raise SettingsError(f"--participation {participation:g}: give a share above 0 and up to 1.")
    settings = SimulationSettings(
        sites=sites,
        rounds=rounds,
        rule=RuleSettings.model_validate({"name": rule, "byzantine_sites": byzantine_sites}),
        participation=participation,
        seconds=seconds,
        seed=seed,
    )
    count = workers or len(os.sched_getaffinity(0))

    def show(point: SimulatedRound) -> None:
        if as_json:
            print_json(
                "round",
                round=point.round,
                sites=point.sites,
                silent=point.silent,
                seconds=round(point.seconds, 3),
                validation_seconds=round(point.validation_seconds, 3),
                sites_per_s=round(point.sites_per_s, 1),
                loss=_or_none(point.loss),
                valence_ccc=_or_none(point.validation[0]),
                arousal_ccc=_or_none(point.validation[1]),
                peak_mb=_or_none(point.peak_mb),
            )
            return
        print(
            f"{point.round:>5}{point.seconds:>9.1f}{point.sites_per_s:>9.0f}{point.loss:>8.3f}"
            f"{point.validation[0]:>9.3f}{point.validation[1]:>9.3f}{point.peak_mb:>9.0f}"
            + (f"  {point.silent} sites had no frame to train on" if point.silent else ""),
            flush=True,
        )

    if not as_json:
        crew = f"{count} worker{'s' if count > 1 else ''}"
        print(f"{sites} sites of about {seconds:g} s, {rule}, {crew}, seed {seed}")
        if rule in ALL_AT_ONCE:
            print(f"note: {rule} looks at all updates of a round together, so memory grows with the sites.")
        print(
            f"{'round':>5}{'seconds':>9}{'sites/s':>9}{'loss':>8}{'valence':>9}{'arousal':>9}{'peak MB':>9}"
        )
    interrupt_on_signals()
    try:
        result = run_simulation(settings, count, show)
    except KeyboardInterrupt:
        if not as_json:
            print("stopped; nothing is left running")
        raise typer.Exit(130) from None
    total = sum(point.seconds + point.validation_seconds for point in result.rounds)
    last = result.rounds[-1]
    if as_json:
        print_json(
            "done",
            seconds=round(total, 3),
            start_seconds=round(result.start_s, 3),
            own_peak_mb=_or_none(last.own_peak_mb),
            workers_peak_mb=[_or_none(peak) for peak in last.workers_peak_mb],
            weights_sha256=result.fingerprint,
        )
        return
    peaks = " + ".join(f"{peak:.0f}" for peak in (last.own_peak_mb, *last.workers_peak_mb))
    print(f"{len(result.rounds)} rounds in {total:.0f} s, after {result.start_s:.1f} s to start the workers")
    print(f"peak memory {last.peak_mb:.0f} MB ({peaks}: this process and its workers)")
    print(f"weights sha256 {result.fingerprint}")


def _or_none(number: float) -> float | None:
    """For JSON, which has no NaN."""
    return round(number, 4) if number == number else None
