"""What an operator is told of the server: the same facts on the page, over the JSON API, in the terminal.

Numbers and the names of sites; nothing about a person. Every moment is UTC, ISO 8601 with milliseconds;
a number that is not known, or is undefined, is None (``null``), never 0.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

RunState = Literal["waiting", "running", "finished", "stopped", "failed", "died"]
SitePresence = Literal["online", "late", "offline", "never seen", "invited", "revoked"]
Phase = Literal["waiting", "train", "evaluate", "aggregate"]
Role = Literal["operator", "viewer"]


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class RunFacts(_Facts):
    """A run: what was asked for, and how far it came."""

    run: str
    number: int
    """Rising in the order in which runs were made; pages of runs are asked for by it."""
    state: RunState
    rule: str
    rounds: int
    rounds_done: int
    quorum: int
    asked: str | None
    """When it was put into the queue."""
    started: str | None
    ended: str | None
    not_before: str | None
    """A scheduled start that has not come yet."""
    behind: tuple[str, ...]
    """Runs that it waits for."""
    reason: str
    """Why it ended before its last round; empty for others."""
    resumed: int
    """How often it was taken up again."""
    valence_ccc: float | None
    """Pooled, after the last round that was done; so is the next."""
    arousal_ccc: float | None
    settings: dict[str, Any]
    """As ``run.toml`` would say them."""


class CccFacts(_Facts):
    """Concordance of one target after a round, over the sites' held-out recordings."""

    pooled: float | None
    mean_over_recordings: float | None
    """AVEC's rule."""
    worst_site: str | None
    worst: float | None
    """Pooled over that site's recordings."""
    spread: float | None
    """Standard deviation (population) of the sites' pooled CCC; None with fewer than two sites."""


class LossFacts(_Facts):
    """Training loss of a round, as the sites report it."""

    mean: float | None
    """Weighted by frames."""
    worst: float | None
    worst_site: str | None
    spread: float | None
    """Standard deviation (population) over sites; None with fewer than two."""


class RoundSeconds(_Facts):
    """Where a round's time went; they add up to ``total`` but for what lies between."""

    wait: float | None
    """Until enough sites were there."""
    train: float | None
    """The longest that a site says it trained, at most what the exchange took."""
    transfer: float | None
    """The rest of the training exchange: orders down, updates up, and waiting in between."""
    aggregate: float | None
    """The rule's work, and publishing the model."""
    evaluate: float | None
    """The evaluation exchange, both ways."""
    total: float | None


class RoundFacts(_Facts):
    """One finished round of a run."""

    run: str
    round: int
    time: str
    attempts: int
    sites_asked: int
    sites_answered: int
    frames: int | None
    loss: LossFacts
    valence: CccFacts
    arousal: CccFacts
    seconds: RoundSeconds
    bytes_up: int
    bytes_down: int
    epsilon: float | None
    """Privacy spent up to this round; None where no mechanism is on."""


class SiteRoundFacts(_Facts):
    """One site's part in one round."""

    run: str
    round: int
    site: str
    asked: bool
    """Whether it was asked to train; the others were only asked to evaluate."""
    answered: bool
    error: str
    """Why it did not answer, or was rejected; empty where nothing was wrong."""
    frames: int | None
    loss: float | None
    update_norm: float | None
    seconds: float | None
    """How long it says it trained."""
    device: str | None
    """``cpu`` or ``cuda`` and which."""
    version: str | None
    bytes_up: int | None
    bytes_down: int | None
    valence_ccc: float | None
    """Pooled over its held-out recordings."""
    arousal_ccc: float | None
    evaluation_error: str


class SiteFacts(_Facts):
    """A site now, and what it did last."""

    name: str
    presence: SitePresence
    """``late``: a sign of life is overdue, but it still counts as online. ``offline``: it no longer does."""
    last_seen: str | None
    fingerprint: str | None
    """Of its key."""
    run: str | None
    """The last run it took part in; so are the next."""
    round: int | None
    frames: int | None
    """Trained on in that round."""
    frames_in_all: int
    """Over all rounds of that run."""
    device: str | None
    """As far as it ever said; so is the version."""
    version: str | None
    update_norm: float | None
    loss: float | None
    valence_ccc: float | None
    arousal_ccc: float | None
    error: str
    """Of the last round that asked it, a failed one too; empty where nothing was wrong."""
    error_time: str | None


class Awaited(_Facts):
    """A site that has not answered yet."""

    site: str
    presence: SitePresence
    last_seen: str | None


class CurrentRound(_Facts):
    """What goes on in the run just now."""

    run: str
    round: int
    rounds: int
    attempt: int
    phase: Phase
    since: str
    """When this phase began."""
    deadline: str | None
    """When the phase ends at the latest."""
    quorum: int
    asked: tuple[str, ...]
    answered: tuple[str, ...]
    failed: dict[str, str]
    awaits: tuple[Awaited, ...]
    in_words: str
    """For a person: ``waiting for 1 of 3 sites: lab-2 last seen 40 s ago``."""
    left_s: float | None
    """Estimated time to the run's end, from the rounds that were done since it was last taken up."""


class EventFacts(_Facts):
    """A line of the log of what happened."""

    id: int
    """Rising with the order in which the events became known."""
    time: str
    kind: str
    """joined, left, late, refused, dropped, resumed, promoted, …: :data:`mien_server.history.kinds.KINDS`."""
    run: str | None
    round: int | None
    site: str | None
    text: str
    """For a person."""


class ModelFacts(_Facts):
    """A published model: that of one round."""

    run: str
    round: int
    created: str
    schema_name: str
    valence_ccc: float | None
    arousal_ccc: float | None
    frames: int
    sites: int
    bytes: int
    sha256: str
    is_latest: bool
    releases: tuple[str, ...]
    """Versions that were made of it."""


class ReleaseFacts(_Facts):
    """A release: a model that was signed, and never changes."""

    version: str
    run: str
    round: int
    created: str
    schema_name: str
    valence_ccc: float | None
    arousal_ccc: float | None
    is_latest: bool
    files: dict[str, int]
    """Bytes by name."""
    sums_sha256: str
    """Of its ``SHA256SUMS``."""


class ServerFacts(_Facts):
    """The server itself."""

    version: str
    time: str
    up: bool
    since: str | None
    """When it was started."""
    certificate_ends: str | None
    database: str
    """``sqlite`` or ``postgresql``."""
    behind_s: float | None
    """How long ago the history last took up what happened; None where nothing keeps it."""


class TotalFacts(_Facts):
    """Sums over every run of the history: they only grow, also across restarts."""

    rounds: int
    bytes_up: int
    bytes_down: int
    events: dict[str, int]
    """How many by kind."""


class Status(_Facts):
    """Everything of this moment, on one page."""

    server: ServerFacts
    run: RunFacts | None
    """The one that goes on; else the one that ended last."""
    now: CurrentRound | None
    queue: tuple[RunFacts, ...]
    """Runs that wait, in their order."""
    sites: tuple[SiteFacts, ...]
    latest_release: str | None
    events: int = Field(ge=0)
    """The highest id among the events."""
