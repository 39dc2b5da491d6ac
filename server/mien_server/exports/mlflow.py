"""Runs logged to an MLflow server, where the operator gave one: settings, a step for every round, the end.

Enters: runs' events, from the recorder, each as often as it takes. Leaves: one MLflow run for each of ours,
found by its tags ``mien.run`` and ``mien.server``, with metrics whose step is the round and whose time is the
round's own. A round that is handed over twice is logged once.
"""

import hashlib
import logging
from dataclasses import dataclass, replace
from typing import Any, Final

from mien_common.errors import InputError, MienError
from mien_common.versions import MIEN_VERSION
from mien_server.exports.mlflow_server import MlflowServer, RunRefusedError
from mien_server.exports.series import round_values
from mien_server.folder import ServerFolder
from mien_server.history.journal_rows import moment
from mien_server.history.revisions import own_id
from mien_server.runs.journal import Event
from mien_server.runs.settings import in_words, read_run

EXPERIMENT: Final = "mien"
ENDS: Final = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED", "died": "FAILED"}
"""Our words and MLflow's."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Logged:
    """A run there, and how far it is."""

    id: str
    last_round: int


class Mlflow:
    """The follower that logs: it waits for the server's answer to each event, but not for ever."""

    def __init__(self, address: str) -> None:
        self._server = MlflowServer(address, EXPERIMENT)
        # Another server is told everything from the beginning.
        self.name = f"mlflow-{hashlib.sha256(self._server.address.encode()).hexdigest()[:12]}"
        self._runs: dict[str, _Logged] = {}
        self._refused: set[str] = set()

    def take(self, folder: ServerFolder, run: str, event: Event) -> None:
        """Log one event.

        Raises
        ------
        FederationError
            The server cannot be reached, or lets nobody in: to be tried again.
        """
        kind = event["event"]
        if kind not in ("started", "resumed", "round", *ENDS) or run in self._refused:
            return
        try:
            logged = self._runs.get(run) or self._meet(folder, run, event)
            self._runs[run] = self._log(logged, run, event)
        except RunRefusedError as error:
            log.warning("event=mlflow_refused run=%s reason=%s", run, error)
            self._refused.add(run)

    def close(self) -> None:
        """Nothing is left to send: every event was, when it came."""

    def _meet(self, folder: ServerFolder, run: str, event: Event) -> _Logged:
        """The run there, made where there is none, with our settings as its parameters."""
        tags = {"mien.run": run, "mien.server": own_id(folder)}
        found = self._server.find(tags) or self._server.create(run, tags, moment(event["time"]).timestamp())
        if "mien.version" not in found.tags:
            self._server.log_params(found.id, _params(folder, run), {"mien.version": MIEN_VERSION})
        last = found.tags.get("mien.round", "")
        return _Logged(found.id, int(last) if last.isdecimal() else 0)

    def _log(self, logged: _Logged, run: str, event: Event) -> _Logged:
        kind, time_s = event["event"], moment(event["time"]).timestamp()
        if kind == "round":
            try:
                found = round_values(run, event)
            except InputError:
                found = None  # the history says so, once
            if found is None or found.round <= logged.last_round:
                return logged
            tags = {"mien.round": str(found.round)}
            self._server.log_metrics(logged.id, found.values, found.round, found.time_s, tags)
            return replace(logged, last_round=found.round)
        if kind in ENDS:
            reason = str(event.get("error") or event.get("reason") or "")
            self._server.tag(logged.id, {"mien.state": kind, "mien.reason": reason})
            self._server.end(logged.id, ENDS[kind], time_s)
        else:
            self._server.tag(logged.id, {"mien.state": "running", "mien.reason": ""})
            self._server.go_on(logged.id)
        return logged


def _params(folder: ServerFolder, run: str) -> dict[str, str]:
    """The run's settings, as ``run.toml`` would say them: ``training.epochs`` and so on."""
    try:
        return _flat(in_words(read_run(folder.runs / run)))
    except MienError as error:
        log.warning("event=mlflow_without_params run=%s reason=%s", run, error)
        return {}


def _flat(values: dict[str, Any], before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in values.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: str(value)}
    return found
