"""RECOLA as the AVEC challenges of 2016 and 2018 released it: partitions, gold standards, video features.

2016: ``ratings_gold_standard/{arousal,valence}/train_1.arff`` (``Instance_name, frameTime, GoldStandard``,
7,501 rows), ``ratings_individual/{arousal,valence}/train_1.csv`` as RECOLA's own, and
``features_video_{geometric,appearance}/{arousal,valence}/train_1.arff``: means and deviations over windows,
whose length was chosen for each target, so that there are two sets of each. 2018: ``labels/gs_1/…``,
``labels/individual/…``, ``features/video/{AU,BoVW,appearance,geometric}/``, a file per recording and window,
such as ``train_1_4.0_0.4.arff`` for 4 s every 0.4 s.

The face that was not found is coded as a row of zeros (2016's documentation: "forced to 0"), or ``?`` (2018).
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args

import numpy as np

from mien_common.errors import FeatureFileError, RatingsError, SettingsError
from mien_common.schema import TARGETS

from .admission import admit, in_one_note, require_same_channels, require_same_rate
from .corpus import Corpus, Partition, RatedRecording
from .folders import entry, find_folder
from .pairing import Rated, measured_from, pair
from .release import by_target, features_series, files_by_name, read_gold, read_raters
from .timeline import Note, Series, common_frames, on_clock, rate_of

_RECORDING: Final = re.compile(
    r"(?:^|_)(train|dev|test)_(\d+)(?:_(\d+(?:\.\d+)?_\d+(?:\.\d+)?))?(?:_|$)", re.IGNORECASE
)
_PARTITIONS: Final[dict[str, Partition]] = {part: part for part in get_args(Partition)}
_LONGEST_WINDOW_S: Final = 16.0
"""Features of windows end as much earlier as a window is long; AVEC 2018's longest."""
SETS_2016: Final = ("geometric", "appearance")


def read_avec2016(path: Path, features: str | None = None) -> Corpus:
    """The corpus in AVEC 2016's folder.

    Parameters
    ----------
    features : ``geometric`` (the default) or ``appearance``: the sets for both targets side by side; or
        ``geometric/valence``: that for one.

    Raises
    ------
    SettingsError, InputError
        There is no such set, or a file is missing or wrong; the message names file and field.
    """
    wanted, _, target = (features or SETS_2016[0]).partition("/")
    gold = find_folder(
        path, wanted="AVEC 2016", places=("ratings_gold_standard", "ratings/ratings_gold_standard")
    )
    name = f"features_video_{wanted.lower()}"
    folder = find_folder(path, wanted=f"AVEC 2016 with {wanted} features", places=(name, f"features/{name}"))
    folders = [side for each in TARGETS if (side := entry(folder, each)) is not None]
    if target:
        chosen = entry(folder, target)
        if target not in TARGETS or chosen is None:
            raise SettingsError(f"corpus.features = {features!r}: {folder} holds no folder {target}.")
        folders = [chosen]
    sets = [_by_recording(each, None) for each in folders or [folder]]
    labels = [path / "ratings_individual", path / "ratings" / "ratings_individual"]
    individual = next((each for each in labels if each.is_dir()), None)
    return _read("AVEC 2016", folder, sets, gold, individual, [])


def read_avec2018(path: Path, features: str | None = None) -> Corpus:
    """The corpus in the folder of AVEC 2018's gold-standard challenge.

    Parameters
    ----------
    features : ``AU`` (the default), ``BoVW``, ``appearance`` or ``geometric``; with its window where there
        are several, such as ``AU/4.0_0.4``.

    Raises
    ------
    SettingsError, InputError
        There is no such set or window, or a file is missing or wrong; the message names file and field.
    """
    wanted, _, window = (features or "AU").partition("/")
    labels = find_folder(path, wanted="AVEC 2018", places=("labels",))
    folder = find_folder(
        path, wanted=f"AVEC 2018 with {wanted} features", places=(f"features/video/{wanted}",)
    )
    golds = sorted(e for e in labels.iterdir() if e.is_dir() and e.name.lower().startswith("gs"))
    notes = [f"of {len(golds)} gold standards given, {golds[0].name} is taken"] if len(golds) > 1 else []
    gold = golds[0] if golds else None
    return _read(
        "AVEC 2018", folder, [_by_recording(folder, window or None)], gold, entry(labels, "individual"), notes
    )


def _by_recording(folder: Path, window: str | None) -> dict[str, Path]:
    """Feature files by recording (``train_1``), of one window."""
    found: defaultdict[str, dict[str, Path]] = defaultdict(dict)
    for stem, path in files_by_name(folder).items():
        match = _RECORDING.search(stem)
        if match is not None:
            found[f"{match[1].lower()}_{match[2]}"][match[3] or ""] = path
    if not found:
        raise FeatureFileError(f"{folder} holds no features: looked for train_1.arff, dev_1.arff, … or .csv.")
    windows = sorted({each for files in found.values() for each in files})
    if window is None and len(windows) > 1:
        raise SettingsError(
            f"corpus.features: {folder} holds features of {len(windows)} windows. "
            f"Say which, such as {folder.name}/{windows[0] or windows[1]} ({', '.join(windows[:8])})."
        )
    taken = windows[0] if window is None else window
    if taken not in windows:
        raise SettingsError(
            f"corpus.features: {folder} has no window {taken}; it has {', '.join(windows[:8])}."
        )
    return {name: files[taken] for name, files in found.items() if taken in files}


def _read(
    name: str,
    folder: Path,
    sets: Sequence[dict[str, Path]],
    gold: Path | None,
    individual: Path | None,
    notes: list[str],
) -> Corpus:
    golds = by_target(gold) if gold is not None else ({}, {})
    raters = by_target(individual) if individual is not None else ({}, {})
    rated = sorted({*golds[0], *raters[0]}, key=_order)
    for each in rated:
        if each.partition("_")[0] not in _PARTITIONS:
            raise RatingsError(f"{(gold or individual)}: {each} is not called train_1, dev_1 or test_1, ….")
    for each in rated:
        if any(each not in files for files in sets):
            raise FeatureFileError(f"{folder} holds no features of recording {each}, which is rated.")
    unrated = sorted({each for files in sets for each in files} - set(rated), key=_order)
    if unrated:
        notes.extend(f"{each}: no ratings, left out" for each in unrated)
    recordings: list[RatedRecording] = []
    partitions: dict[str, Partition] = {}
    first: Series | None = None
    rate_hz = 0.0
    for each in rated:
        series = _features([files[each] for files in sets], notes.append)
        if first is None:
            first, rate_hz = series, rate_of(series)
        require_same_channels(first.path, first.columns, series.path, series.columns)
        require_same_rate(first.path, rate_hz, series.path, rate_of(series))
        given = Rated((), None)
        if each in raters[0]:
            given = read_raters(raters[0][each], raters[1][each], notes.append)
        if each in golds[0]:
            given = Rated(
                given.raters, given.by_target, read_gold(golds[0][each], golds[1][each], notes.append)
            )
        measured = measured_from(series)
        recordings.append(
            pair(each, each, measured, given, rate_hz, series.path, notes.append, _LONGEST_WINDOW_S)
        )
        partitions[each] = _PARTITIONS[each.partition("_")[0]]
    channels = first.columns if first is not None else ()
    return admit(name, channels, rate_hz, recordings, partitions=partitions, note=in_one_note(notes))


def _features(paths: Sequence[Path], note: Note) -> Series:
    """The features of one recording; sets for both targets side by side, their names told apart."""
    parts = [
        measured_from(features_series(path, note, time_first=False), zeros_are_missing=True).series
        for path in paths
    ]
    if len(parts) == 1:
        return parts[0]
    rate_hz = rate_of(parts[0])
    # What is cut here is cut, and noted, against the ratings again.
    clock_s = common_frames(parts, rate_hz, lambda _said: None, _LONGEST_WINDOW_S) / rate_hz
    values = np.concatenate([on_clock(part, clock_s, 1.75 / rate_hz) for part in parts], axis=1)
    names = tuple(f"{part.path.parent.name}: {column}" for part in parts for column in part.columns)
    return Series(parts[0].path, clock_s, names, values.astype(np.float64))


def _order(name: str) -> tuple[int, int]:
    partition, _, number = name.partition("_")
    if partition not in _PARTITIONS or not number.isdigit():
        return len(_PARTITIONS), 0
    return list(_PARTITIONS).index(partition), int(number)
