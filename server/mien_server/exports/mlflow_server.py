"""An MLflow server, by its own client library: asked for by URL, silent about us to everybody else.

Enters: parameters, numbers and states of runs. Leaves: HTTP requests to that server, and to no other: the
library's reports on its own use are switched off before it is loaded. A password leaves in a header only, and
stands in no message.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from mien_common.errors import FederationError, InputError, SettingsError
from mien_server.folder import ServerFolder, is_web_address

MLFLOW_VARIABLE: Final = "MIEN_MLFLOW_URL"
TIMEOUT_S: Final = 10
REASON_LIMIT: Final = 300
PARAM_LIMIT: Final = 6000
"""What MLflow keeps of a parameter's value; so is the next of a tag's."""
TAG_LIMIT: Final = 5000
MOST_PARAMS: Final = 100
"""In one request; so is the next."""
MOST_METRICS: Final = 1000

QUIET: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Who calls tries again, after a pause; a redirect would take the password to another host.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(TIMEOUT_S),
}
"""Environment of the library, whatever ours says."""

_FOR_THIS_RUN: Final = frozenset(
    {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_STATE"}
)


class RunRefusedError(InputError):
    """MLflow will not have this run, however often it is asked: somebody deleted it there, say."""


def mlflow_address(folder: ServerFolder) -> str:
    """Where runs are logged to; empty where nowhere.

    Raises
    ------
    SettingsError
        The variable in the environment holds no address.
    """
    given = os.environ.get(MLFLOW_VARIABLE, "")
    if given and not is_web_address(given):  # not repeated: it may hold a password
        raise SettingsError(
            f"{MLFLOW_VARIABLE} is no address that begins with http:// or https://. Correct it, or unset it."
        )
    return given or folder.settings.mlflow


@dataclass(frozen=True)
class LoggedRun:
    """A run as MLflow knows it."""

    id: str
    tags: Mapping[str, str]


class MlflowServer:
    """The server at ``address``, which may hold a name and a password; nothing is sent before it is needed.

    The library takes its settings from this process's environment, which it therefore changes.

    Raises
    ------
    SettingsError
        The library is not installed.
    """

    def __init__(self, address: str, experiment: str) -> None:
        if find_spec("mlflow") is None:
            raise SettingsError(
                "runs are to be logged to MLflow. Install its client: pip install 'mien[mlflow]'"
            )
        parts = urlsplit(address)
        self._password = unquote(parts.password or "")
        self.name = parts.netloc.rpartition("@")[2]
        self.address = address.replace(parts.netloc, self.name, 1).rstrip("/")
        self._experiment = experiment
        self._experiment_id: str | None = None
        self._client: Any = None
        os.environ.update(QUIET)
        if parts.username:
            os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username)
            os.environ["MLFLOW_TRACKING_PASSWORD"] = self._password

    def find(self, tags: Mapping[str, str]) -> LoggedRun | None:
        """The run that has these tags, where there is one."""
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        experiment = self._experiment_of()
        found = self._ask(lambda client: client.search_runs([experiment], wanted, max_results=1))
        return LoggedRun(found[0].info.run_id, found[0].data.tags) if found else None

    def create(self, name: str, tags: Mapping[str, str], started_s: float) -> LoggedRun:
        """A new run, which goes on."""
        experiment, started_ms = self._experiment_of(), round(started_s * 1000)
        made = self._ask(
            lambda client: client.create_run(
                experiment, start_time=started_ms, tags=dict(tags), run_name=name
            )
        )
        return LoggedRun(made.info.run_id, dict(tags))

    def log_params(self, run: str, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Parameters, which must not change, and then the tags."""
        from mlflow.entities import Param

        found = [Param(name, value[:PARAM_LIMIT]) for name, value in params.items()]
        for begin in range(0, len(found), MOST_PARAMS):
            self._log(run, params=found[begin : begin + MOST_PARAMS])
        self.tag(run, tags)

    def log_metrics(
        self, run: str, values: Mapping[str, float], step: int, time_s: float, tags: Mapping[str, str]
    ) -> None:
        """Numbers of one step, all at one time, with tags; those of them that are there already stay single.

        The tags are in the last request: who finds them knows that everything before is there.
        """
        from mlflow.entities import Metric

        found = [Metric(name, value, round(time_s * 1000), step) for name, value in values.items()]
        while len(found) > MOST_METRICS:
            self._log(run, metrics=found[:MOST_METRICS])
            del found[:MOST_METRICS]
        self._log(run, metrics=found, tags=_tags(tags))

    def tag(self, run: str, tags: Mapping[str, str]) -> None:
        """Set tags, in place of what they were."""
        self._log(run, tags=_tags(tags))

    def go_on(self, run: str) -> None:
        """Say that a run that had ended goes on."""
        self._ask(lambda client: client.update_run(run, status="RUNNING"))

    def end(self, run: str, status: str, time_s: float) -> None:
        """Say that a run ended: ``FINISHED``, ``KILLED`` or ``FAILED``."""
        self._ask(lambda client: client.set_terminated(run, status, round(time_s * 1000)))

    def _log(self, run: str, **what: Any) -> None:
        self._ask(lambda client: client.log_batch(run, **what))

    def _experiment_of(self) -> str:
        if self._experiment_id is None:
            name = self._experiment
            found = self._ask(lambda client: client.get_experiment_by_name(name))
            made = found.experiment_id if found else self._ask(lambda client: client.create_experiment(name))
            self._experiment_id = str(made)
        return self._experiment_id

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        """Its answer; what goes wrong in the library, as an error of ours."""
        from google.protobuf.json_format import Error as ProtobufError
        from mlflow.exceptions import MlflowException, RestException
        from mlflow.tracking import MlflowClient  # a second to load

        try:
            if self._client is None:
                self._client = MlflowClient(tracking_uri=self.address)
            return question(self._client)
        except RestException as error:
            if error.error_code in _FOR_THIS_RUN:
                raise RunRefusedError(f"MLflow at {self.name} refused it: {self._reason(error)}") from None
            raise self._failure(error) from None
        except (
            MlflowException,
            ProtobufError,
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
        ) as error:
            # The others: what answers there is no MLflow, and the library takes its words for granted.
            raise self._failure(error) from None

    def _failure(self, error: Exception) -> FederationError:
        return FederationError(
            f"MLflow at {self.name} took nothing, it is tried again: {self._reason(error)}"
        )

    def _reason(self, error: Exception) -> str:
        """The first line of what went wrong, without the password."""
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        said = said.replace(self._password, "***") if self._password else said
        return said if len(said) <= REASON_LIMIT else said[: REASON_LIMIT - 1] + "…"


def _tags(tags: Mapping[str, str]) -> list[Any]:
    from mlflow.entities import RunTag

    return [RunTag(name, value[:TAG_LIMIT]) for name, value in tags.items()]
