"""Sessions of Mien's own sites as a corpus: what agents have trained on, compared in the laboratory.

Enters: a site's folder, a folder of sites, or a folder of sessions. Leaves: ``au-v1`` features as the agent
has them, the channels that no model is given set to NaN, and the site's ratings as one rater's.
"""

from pathlib import Path
from typing import Final

import numpy as np

from mien_client.features import MODEL_CHANNELS
from mien_client.sessions import SESSION_FILE, read_session, session_folders
from mien_common.errors import RatingsError, SessionError
from mien_common.schema import AU_V1

from .admission import admit, in_one_note
from .corpus import Corpus, RatedRecording
from .folders import require_folder
from .rating_file import ONE_RATER

_SESSIONS: Final = "sessions"


def read_sessions(path: Path, note: str = "") -> Corpus:
    """The corpus of all rated sessions under ``path``.

    A session without a participant in its record is taken as its site's. Of several sites, participants are
    named ``site/participant``, as two sites may use the same names.

    Raises
    ------
    InputError
        There is no session, or one is damaged or of another schema; the message names it.
    """
    require_folder(path)
    sites = _sites(path)
    if not sites:
        raise SessionError(
            f"{path} holds no sessions: looked for {_SESSIONS}/*/{SESSION_FILE}, "
            f"*/{_SESSIONS}/*/{SESSION_FILE} and */{SESSION_FILE} in it."
        )
    notes = [note] if note else []
    recordings: list[RatedRecording] = []
    extractors: dict[str, str] = {}
    for site, folder in sites.items():
        for each in session_folders(folder):
            session = read_session(each)
            record, prefix = session.record, f"{site}/" if len(sites) > 1 else ""
            if session.ratings is None:
                notes.append(f"{prefix}{record.id}: no ratings, left out")
                continue
            extractors.setdefault(record.features_from, record.id)
            values = np.where(MODEL_CHANNELS, session.features.values, np.float32(np.nan))
            recordings.append(
                RatedRecording(
                    prefix + record.id,
                    prefix + record.participant if record.participant else site,
                    values.astype(np.float32),
                    session.features.valid,
                    (ONE_RATER,),
                    session.ratings[None],
                    None,
                    each,
                )
            )
    if not recordings:
        raise RatingsError(f"{path}: none of its sessions has ratings. Ingest them again with --ratings.")
    if len(extractors) > 1:
        said = ", ".join(f"{name} ({example}, …)" for name, example in extractors.items())
        notes.append(f"features of {said}, each on a scale of its own")
    return admit(path.name, AU_V1.channels, AU_V1.rate_hz, recordings, note=in_one_note(notes))


def _sites(path: Path) -> dict[str, Path]:
    """Folders of sessions by their site's name: of one site, of several, or the one that was given."""
    if (path / _SESSIONS).is_dir():
        return {path.name: path / _SESSIONS}
    sites = {each.name: each / _SESSIONS for each in sorted(path.iterdir()) if (each / _SESSIONS).is_dir()}
    if sites:
        return sites
    return {path.name: path} if any(path.glob(f"*/{SESSION_FILE}")) else {}
