"""Files laid out as RECOLA and AVEC release them, with made-up numbers: nobody here has the real ones."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]

RATERS = ("FM1 ", "FM2 ", "FM3 ", "FF1 ", "FF2 ", "FF3")
"""With the blanks that RECOLA's headers have."""
FRAMES = 7501
UNITS = ("AU1", "AU2", "AU4", "AU5", "AU6", "AU7", "AU9", "AU11", "AU12", "AU15", "AU17", "AU20", "AU23")
STATIC = (*UNITS, "AU24", "AU25", "head_pitch", "head_yaw", "head_roll", "flow_mean", "flow_std")
ATTRIBUTES = (*STATIC, *(f"{name}_delta" for name in STATIC))
"""RECOLA's 40 video attributes: what they are is known, what the release calls them is not."""


def seconds(frames: int, rate_hz: float = 25.0) -> Table:
    """(frames,) from 0 s."""
    return np.arange(frames) / rate_hz


def traces(frames: int, columns: int, seed: int) -> Table:
    """(frames, columns) smooth, within ±0.9, alike in all columns."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 6, frames)[:, None]
    common = np.sin(time + rng.uniform(0, 6)) * 0.5
    own = 0.2 * np.sin(time * rng.uniform(0.5, 2, columns) + rng.uniform(0, 6, columns))
    return common + own + rng.uniform(-0.15, 0.15, columns)


def write_csv(
    path: Path,
    names: Sequence[str],
    values: Table,
    separator: str = ";",
    ends: str = "\n",
    form: str = "{:.4f}",
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [separator.join(names)]
    rows += [separator.join("" if np.isnan(x) else form.format(x) for x in row) for row in values.tolist()]
    path.write_text(ends.join(rows) + ends, newline="")
    return path


def write_arff(path: Path, names: Sequence[str], values: Table, instance: str | None = None) -> Path:
    """As Weka and MATLAB scripts write it; with a string attribute first where ``instance`` is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["@relation MADE_UP", ""]
    lines += ["@attribute Instance_name string"] if instance else []
    lines += [f"@attribute {name} numeric" for name in names] + ["", "", "@data", ""]
    first = f"{instance}," if instance else ""
    lines += [first + ",".join("?" if np.isnan(x) else f"{x:.6g}" for x in row) for row in values.tolist()]
    path.write_text("\n".join(lines) + "\n")
    return path


def recola(
    root: Path,
    participants: Sequence[str] = ("P16", "P17"),
    frames: int = FRAMES,
    features: Callable[[Path, str, Table], Path] | None = None,
) -> Path:
    """RECOLA's folder: ratings of all ``frames``, features without the first."""
    for seed, person in enumerate(participants):
        for offset, target in enumerate(("arousal", "valence")):
            rated = np.column_stack([seconds(frames), traces(frames, len(RATERS), 10 * seed + offset)])
            folder = root / "RECOLA-Annotation" / "emotional_behaviour" / target
            write_csv(folder / f"{person}.csv", ("time", *RATERS), rated)
        values = recola_features(frames, seed)
        write = features or recola_arff
        write(root / "RECOLA-Video-features", person, values)
    return root


def recola_features(frames: int, seed: int) -> Table:
    """(frames − 1, 41) the time from 0.04 s on, and the attributes; 20 frames without a face."""
    values = np.random.default_rng(seed).normal(size=(frames - 1, len(ATTRIBUTES))).round(4)
    values[30:50] = 0.0
    return np.column_stack([seconds(frames)[1:], values])


def recola_arff(folder: Path, person: str, values: Table) -> Path:
    return write_arff(folder / f"{person}.arff", ("frame_time", *ATTRIBUTES), values)


def recola_csv(folder: Path, person: str, values: Table) -> Path:
    return write_csv(folder / f"{person}.csv", ("frame_time", *ATTRIBUTES), values, ",")


def avec2016(
    root: Path, recordings: Sequence[str] = ("train_1", "train_2", "dev_1"), frames: int = 251
) -> Path:
    """AVEC 2016's folder: gold standards, single raters, and geometric features for each target."""
    clock = seconds(frames)
    for seed, name in enumerate(recordings):
        for offset, target in enumerate(("arousal", "valence")):
            rated = traces(frames, len(RATERS), 10 * seed + offset)
            gold = np.column_stack([clock, rated.mean(axis=1)])
            labels = root / "ratings_gold_standard" / target / f"{name}.arff"
            write_arff(labels, ("frameTime", "GoldStandard"), gold, name)
            single = root / "ratings_individual" / target / f"{name}.csv"
            write_csv(single, ("time", *RATERS), np.column_stack([clock, rated]))
            values = np.random.default_rng(100 + 10 * seed + offset).normal(size=(frames, 6)).round(4)
            values[40:60] = 0.0
            file = root / "features_video_geometric" / target / f"{name}.arff"
            names = ("frameTime", *(f"geom_{place}" for place in range(6)))
            write_arff(file, names, np.column_stack([clock, values]))
    return root


def avec2018(root: Path, windows: Sequence[str] = ("4.0_0.4",), frames: int = 2501) -> Path:
    """The folder of AVEC 2018's gold-standard challenge: features every 0.4 s, the last window within."""
    for seed, name in enumerate(("train_1", "train_2", "dev_1")):
        for offset, target in enumerate(("arousal", "valence")):
            rated = traces(frames, len(RATERS), 10 * seed + offset)
            clock = seconds(frames)
            gold = np.column_stack([clock, rated.mean(axis=1)])
            write_arff(
                root / "labels" / "gs_1" / target / f"{name}.arff", ("frameTime", "GoldStandard"), gold, name
            )
            single = root / "labels" / "individual" / target / f"{name}.csv"
            write_csv(single, ("time", *RATERS), np.column_stack([clock, rated]))
        for window in windows:
            length_s, step_s = (float(part) for part in window.split("_"))
            starts = np.arange(0, (frames - 1) / 25 - length_s + 1e-9, step_s)
            values = np.random.default_rng(seed).normal(size=(len(starts), 5)).round(4)
            values[3] = np.nan
            file = root / "features" / "video" / "AU" / f"{name}_{window}.arff"
            names = ("frameTime", "AU01_mean", "AU02_mean", "AU04_mean", "AU01_std", "AU02_std", "class")
            table = np.column_stack([starts, values, np.full(len(starts), np.nan)])
            write_arff(file, names, table, name)
    return root
