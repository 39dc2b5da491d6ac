"""Facts as they could be of a server with three sites in the fourth round of its second run."""

from typing import Any

from mien_server.facts import (
    Awaited,
    CccFacts,
    CurrentRound,
    LossFacts,
    RoundFacts,
    RoundSeconds,
    RunFacts,
    ServerFacts,
    SiteFacts,
    SiteRoundFacts,
    Status,
)

RUN = "2026-11-23-002"
NOW = "2026-11-23T12:00:40.000+00:00"


def made_run(**changes: Any) -> RunFacts:
    values: dict[str, Any] = {
        "run": RUN,
        "number": 2,
        "state": "running",
        "rule": "fedavg",
        "rounds": 20,
        "rounds_done": 3,
        "quorum": 2,
        "asked": "2026-11-23T11:58:00.000+00:00",
        "started": "2026-11-23T11:58:01.000+00:00",
        "ended": None,
        "not_before": None,
        "behind": (),
        "reason": "",
        "resumed": 0,
        "valence_ccc": 0.31,
        "arousal_ccc": 0.42,
        "settings": {"rounds": 20},
    }
    return RunFacts(**values | changes)


def made_round(number: int = 3, **changes: Any) -> RoundFacts:
    """Its figures rise with its number, so that rounds can be told apart."""
    values: dict[str, Any] = {
        "run": RUN,
        "round": number,
        "time": f"2026-11-23T11:{55 + number:02}:30.250+00:00",
        "attempts": 1,
        "sites_asked": 3,
        "sites_answered": 3,
        "frames": 4500,
        "loss": LossFacts(mean=0.9 - number / 100, worst=0.95, worst_site="lab-3", spread=0.02),
        "valence": CccFacts(
            pooled=number / 10, mean_over_recordings=number / 12, worst_site="lab-3", worst=0.05, spread=0.03
        ),
        "arousal": CccFacts(
            pooled=number / 8, mean_over_recordings=None, worst_site=None, worst=None, spread=None
        ),
        "seconds": RoundSeconds(
            wait=0.5, train=6.25, transfer=1.5, aggregate=0.125, evaluate=2.0, total=10.5 + number / 1000
        ),
        "bytes_up": 300_000 + number,
        "bytes_down": 310_000 + number,
        "epsilon": None,
    }
    return RoundFacts(**values | changes)


def made_site_round(site: str = "lab-1", number: int = 3, **changes: Any) -> SiteRoundFacts:
    values: dict[str, Any] = {
        "run": RUN,
        "round": number,
        "site": site,
        "asked": True,
        "answered": True,
        "error": "",
        "frames": 1500,
        "loss": 0.875,
        "update_norm": 1.5,
        "seconds": 6.25,
        "device": "cpu",
        "version": "0.1.0",
        "bytes_up": 100_000,
        "bytes_down": 103_000,
        "valence_ccc": 0.25,
        "arousal_ccc": None,
        "evaluation_error": "",
    }
    return SiteRoundFacts(**values | changes)


def made_site(name: str, **changes: Any) -> SiteFacts:
    values: dict[str, Any] = {
        "name": name,
        "presence": "online",
        "last_seen": "2026-11-23T12:00:38.000+00:00",
        "fingerprint": "SHA256:" + "a" * 43,
        "run": RUN,
        "round": 3,
        "frames": 1500,
        "frames_in_all": 4500,
        "device": "cpu",
        "version": "0.1.0",
        "update_norm": 1.5,
        "loss": 0.875,
        "valence_ccc": 0.25,
        "arousal_ccc": None,
        "error": "",
        "error_time": None,
    }
    return SiteFacts(**values | changes)


UNKNOWN_SITE: dict[str, Any] = dict.fromkeys(
    (
        *("last_seen", "fingerprint", "run", "round", "frames", "device"),
        *("version", "update_norm", "loss", "valence_ccc"),
    )
) | {"frames_in_all": 0}


def made_now(**changes: Any) -> CurrentRound:
    values: dict[str, Any] = {
        "run": RUN,
        "round": 4,
        "rounds": 20,
        "attempt": 1,
        "phase": "train",
        "since": "2026-11-23T12:00:00.000+00:00",
        "deadline": "2026-11-23T12:10:00.000+00:00",
        "quorum": 2,
        "asked": ("lab-1", "lab-2", "lab-3"),
        "answered": ("lab-1", "lab-3"),
        "failed": {},
        "awaits": (Awaited(site="lab-2", presence="late", last_seen="2026-11-23T12:00:00.000+00:00"),),
        "in_words": "waiting for 1 of 3 sites: lab-2 last seen 40 s ago",
        "left_s": 178.5,
    }
    return CurrentRound(**values | changes)


def made_server(**changes: Any) -> ServerFacts:
    values: dict[str, Any] = {
        "version": "0.1.0",
        "time": NOW,
        "up": True,
        "since": "2026-11-23T11:00:00.000+00:00",
        "certificate_ends": "2027-11-23T11:00:00.000+00:00",
        "database": "sqlite",
        "behind_s": 0.25,
    }
    return ServerFacts(**values | changes)


def made_status(**changes: Any) -> Status:
    values: dict[str, Any] = {
        "server": made_server(),
        "run": made_run(),
        "now": made_now(),
        "queue": (
            made_run(run="2026-11-23-003", state="waiting", rounds_done=0, behind=(RUN,), started=None),
        ),
        "sites": (
            made_site("lab-1"),
            made_site("lab-2", presence="late", last_seen="2026-11-23T12:00:00.000+00:00", arousal_ccc=0.125),
            made_site("lab-3", presence="offline", error="no answer within 600 s", error_time=NOW),
            made_site("lab-4", presence="never seen", **UNKNOWN_SITE),
            made_site("lab-5", presence="invited", **UNKNOWN_SITE),
            made_site("lab-6", presence="revoked", **UNKNOWN_SITE),
        ),
        "latest_release": "1.0.0",
        "events": 57,
    }
    return Status(**values | changes)
