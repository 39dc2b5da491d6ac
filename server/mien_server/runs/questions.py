"""What a round asks of its sites: to train, and to evaluate.

Enters: the global weights and who is asked. Leaves: their replies, not yet checked, and what it took to carry
them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from flwr.serverapp import Grid

from mien_common.messages import ARRAYS, DOCUMENT, RoundOrder, TrainingSettings, pack
from mien_common.weights import Weights, to_record
from mien_server.runs.clock import Clock
from mien_server.runs.exchange import exchange
from mien_server.runs.settings import RunSettings

Watch = Callable[[Iterable[str], Mapping[str, str]], None]
"""Is told who has answered so far, and who has failed and why."""


@dataclass(frozen=True)
class Replies:
    """What came back."""

    contents: dict[str, RecordDict]
    """By site."""
    failed: dict[str, str]
    """Why a site has no answer, by site."""
    seconds: float
    """From the first order to the last answer."""
    bytes_up: dict[str, int]
    """By site that answered; counted here, not as the site says."""
    bytes_down: dict[str, int]
    """By site that was asked."""


class Questions:
    """Asks the sites of the run called ``run``.

    Parameters
    ----------
    training : how each site trains, by the run's rule.
    superlink : tells one SuperLink process from the next; see :func:`~mien_server.runs.exchange.exchange`.
    """

    def __init__(
        self,
        grid: Grid,
        settings: RunSettings,
        run: str,
        training: TrainingSettings,
        clock: Clock,
        superlink: Callable[[], object],
    ) -> None:
        self._grid = grid
        self._settings = settings
        self._run = run
        self._training = training
        self._clock = clock
        self._superlink = superlink

    def train(self, round_: int, weights: Weights, sites: Mapping[int, str], watch: Watch) -> Replies:
        """Updates; once the quorum has answered, sites that went offline are no longer waited for."""
        return self._ask("train", round_, weights, sites, self._settings.quorum, watch)

    def evaluate(self, round_: int, weights: Weights, sites: Mapping[int, str], watch: Watch) -> Replies:
        """Sums over held-out recordings. No quorum: who is there is waited for, who left is not."""
        return self._ask("evaluate", round_, weights, sites, 0, watch)

    def _ask(
        self, kind: str, round_: int, weights: Weights, sites: Mapping[int, str], quorum: int, watch: Watch
    ) -> Replies:
        order = RoundOrder(
            schema_name=self._settings.schema_name,
            architecture=self._settings.architecture,
            run=self._run,
            round=round_,
            seed=self._settings.seed,
            training=self._training,
        )
        content = RecordDict({DOCUMENT: pack(order), ARRAYS: to_record(weights)})
        started = self._clock.monotonic()
        answers = exchange(
            self._grid,
            sites,
            content,
            kind,
            str(round_),
            self._settings.deadline_s,
            quorum,
            self._clock,
            self._superlink,
            watch,
        )
        return Replies(
            answers.contents,
            answers.failed,
            self._clock.monotonic() - started,
            {site: _size(reply) for site, reply in answers.contents.items()},
            dict.fromkeys(sites.values(), _size(content)),
        )


def _size(content: RecordDict) -> int:
    """Bytes of what a message carries: its arrays and its document."""
    size = 0
    for record in content.values():
        if isinstance(record, ArrayRecord):
            size += sum(len(array.data) for array in record.values())
        elif isinstance(record, ConfigRecord):
            size += sum(len(value) for value in record.values() if isinstance(value, str | bytes))
    return size
