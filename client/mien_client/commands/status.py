"""``mien agent status``: how this site stands."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .options import JsonOption, SiteOption

if TYPE_CHECKING:
    from ..status import SiteStatus


def status(site: SiteOption = Path(), as_json: JsonOption = False) -> None:
    """Say how this site stands: sessions, participants, face process, model, what left last.

    Ends with 1 where something is broken, and says what.
    """
    from ..status import site_status

    found = site_status(site)
    if as_json:
        _print_json(found)
    else:
        for label, text in _lines(found):
            print(f"{label:<14}{text}")
        for ending in found.ending:
            print(f"{'WARNING':<14}{ending}")
        for problem in found.problems:
            print(f"BROKEN        {problem}")
    if found.problems:
        raise typer.Exit(1)


def _lines(found: "SiteStatus") -> list[tuple[str, str]]:
    settings = found.settings
    running = {True: "running", False: "not running", None: "unknown"}[found.agent_running]
    lines = [
        ("site", f"{settings.name if settings else 'unknown'}, in {found.folder}"),
        ("server", settings.server if settings else "unknown"),
        ("agent", f"{running}, lag {settings.lag_s:g} s" if settings else running),
        *_session_lines(found),
        ("face process", _face_process(found)),
        ("device", _device(found)),
        ("model", _model(found)),
        *_sent_lines(found),
    ]
    if found.free_bytes is not None:
        lines.append(("disk", f"{found.free_bytes / 1e9:.1f} GB free"))
    return lines


def _session_lines(found: "SiteStatus") -> list[tuple[str, str]]:
    sessions = found.sessions
    if sessions is None or not sessions.total:
        lines = [("sessions", "none yet; `mien agent ingest` makes them")]
    else:
        kinds = (
            f"{sessions.to_train_on} to train on, {sessions.held_out} held out, {sessions.unrated} unrated"
        )
        seen = f", face seen {100 * sessions.seen:.0f} %" if sessions.seen is not None else ""
        lines = [("sessions", f"{sessions.total}: {kinds}; {sessions.seconds / 60:.0f} min{seen}")]
        if len(sessions.extractors) > 1:
            each = ", ".join(f"{count} by {name}" for name, count in sessions.extractors.items())
            lines.append(("", f"mixed: {each}; each kind is standardised by itself"))
        if sessions.unconfined:
            lines.append(("", f"{sessions.unconfined} BY AN UNCONFINED FACE PROCESS"))
    for place, person in enumerate(found.participants):
        name = person.name or "nobody named"
        calibrated = f"calibrated {person.calibrated[:10]}" if person.calibrated else "not calibrated"
        plural = "" if person.sessions == 1 else "s"
        text = f"{name}: {person.sessions} session{plural}, {calibrated}"
        lines.append(("participants" if place == 0 else "", text))
    return lines


def _face_process(found: "SiteStatus") -> str:
    here = str(found.confinement) if found.confinement else "unknown whether it can be confined here"
    last = (
        f"last {found.face_process}, {found.face_process.at}" if found.face_process else "none was needed yet"
    )
    return f"{last}; {here}"


def _device(found: "SiteStatus") -> str:
    wanted = found.settings.device if found.settings else "auto"
    there = f"{found.gpus} CUDA device{'s' if found.gpus > 1 else ''}" if found.gpus else "no CUDA device"
    used = "CPU" if wanted == "cpu" or not found.gpus else "CUDA"
    if wanted == "cuda" and not found.gpus:
        return "CUDA is demanded, and there is no CUDA device: training will fail"
    return f"{used} ({wanted}; {there})"


def _model(found: "SiteStatus") -> str:
    if found.model is None:
        return "none received yet"
    return f"run {found.model.run}, round {found.model.round}, {found.model.created[:19]}"


def _sent_lines(found: "SiteStatus") -> list[tuple[str, str]]:
    if not found.sent:
        return [("sent", "nothing yet")]
    return [
        ("sent" if place == 0 else "", f"{sent.time[:19]}  {sent.kind}, {sent.bytes:,} bytes, run {sent.run}")
        for place, sent in enumerate(found.sent)
    ]


def _print_json(found: "SiteStatus") -> None:
    import json
    from dataclasses import asdict

    content = asdict(found) | {
        "folder": str(found.folder),
        "settings": found.settings.model_dump() if found.settings else None,
    }
    print(json.dumps(content, indent=2))
