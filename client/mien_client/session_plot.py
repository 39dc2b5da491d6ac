"""A session as a picture: action units, head pose, whether the face was seen, ratings, predictions.

Enters: a session's folder, and a model where there is one. Leaves: a PNG or SVG file beside nobody's
face: it is drawn from the session's numbers, which are about a person all the same.
"""

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from mien_common.errors import SettingsError
from mien_common.files import write_atomic
from mien_common.schema import AU_CHANNELS, AU_V1, POSE_CHANNELS, TARGETS

from .face.action_units import EXPERIMENTAL
from .features import Features
from .observations import FaceState
from .plots import COLOURS, gaps
from .sessions import Session, read_session
from .site import SETTINGS_FILE, Site, open_site
from .state_words import WORDS, seen_in_words, shares_of

Format = Literal["png", "svg"]

# Okabe & Ito's colours, which colour-blind readers can tell apart; what is as it should be is pale.
STATE_COLOURS: Final[Mapping[FaceState, str]] = {
    FaceState.SEEN: "#DDDDDD",
    FaceState.NO_FRAME: "#000000",
    FaceState.NO_FACE: "#D55E00",
    FaceState.PROFILE: "#E69F00",
    FaceState.SMALL: "#56B4E9",
    FaceState.DARK: "#0072B2",
    FaceState.COVERED: "#CC79A7",
}
_UPPER, _MIDDLE, _LOWER, _UNTRIED = "#0072B2", "#007A5A", "#B84A00", "#777777"
_UNITS: Final[Mapping[str, tuple[str, str]]] = {
    "AU01_r": ("inner brow raiser", _UPPER),
    "AU02_r": ("outer brow raiser", _UPPER),
    "AU04_r": ("brow lowerer", _UPPER),
    "AU05_r": ("upper lid raiser", _UPPER),
    "AU06_r": ("cheek raiser", _MIDDLE),
    "AU07_r": ("lid tightener", _UPPER),
    "AU09_r": ("nose wrinkler", _MIDDLE),
    "AU10_r": ("upper lip raiser", _MIDDLE),
    "AU12_r": ("lip corner puller", _LOWER),
    "AU14_r": ("dimpler", _LOWER),
    "AU15_r": ("lip corner depressor", _LOWER),
    "AU17_r": ("chin raiser", _LOWER),
    "AU20_r": ("lip stretcher", _LOWER),
    "AU23_r": ("lip tightener", _LOWER),
    "AU25_r": ("lips part", _LOWER),
    "AU26_r": ("jaw drop", _LOWER),
    "AU45_r": ("blink", _UPPER),
}
"""Names by Ekman & Friesen, *Facial Action Coding System* (1978)."""
_POSE: Final = {
    "pose_Rx": ("pitch (down +)", "#0072B2", "-"),
    "pose_Ry": ("yaw (to the image's right +)", "#E69F00", "-"),
    "pose_Rz": ("roll (counter-clockwise +)", "#000000", ":"),
}
_LONGEST_NAME: Final = 90
_MINUTE_STEPS_S: Final = (30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
_MOST_POINTS: Final = 2000
"""Of a trace: as many as a picture this wide can show."""


@dataclass(frozen=True)
class Affect:
    """What a model says of a session, and the ratings as they are compared with it."""

    prediction: NDArray[np.float32]
    """(frames, 2) NaN where the face was not seen."""
    model: str
    """Which one, in words."""


def plot_session(folder: Path, model: Path | None, site: Site | None, out: Path) -> None:
    """Draw the session in ``folder`` into ``out``, whose ending says PNG or SVG.

    Parameters
    ----------
    model : a published model's folder or file, to draw its predictions.
    site : whose statistics and lag serve; where None, the site whose session it is.

    Raises
    ------
    SessionError, ModelError
        The session or the model is damaged, the site has no statistics for such features, or the model gives
        no trace of a recording.
    SettingsError
        ``out`` ends neither in .png nor in .svg, or a model is given and no site is known.
    StorageError
        It cannot be written.
    """
    form = _format_of(out)
    session = read_session(folder)
    site = site or site_of(folder)
    affect = _predict(session, model, site) if model is not None else None
    lag_s = site.settings.lag_s if site is not None else None
    write_atomic(out, draw_session(session, affect, lag_s, form))


def site_of(folder: Path) -> Site | None:
    """The site whose session a folder is; None where it lies elsewhere."""
    above = folder.resolve().parent.parent
    return open_site(above) if (above / SETTINGS_FILE).is_file() else None


def _format_of(out: Path) -> Format:
    match out.suffix.lower():
        case ".png":
            return "png"
        case ".svg":
            return "svg"
    raise SettingsError(f"{out} must end in .png or .svg.")


def _predict(session: Session, model: Path, site: Site | None) -> Affect:
    from mien_common.weights import network_from

    from .client_app import read_site_data
    from .device import choose_device
    from .inference import predict
    from .model_uses import check_traces
    from .releases import read_model

    if site is None:
        raise SettingsError(
            "predictions need the statistics of the site that the session is of. Give it with --site."
        )
    card, weights = read_model(model, site)
    check_traces(card, model)
    scaler = read_site_data(site).scaler_for(session.record.features_from)
    network = network_from(weights, card.architecture)
    prediction = predict(network, scaler.apply(session.features), choose_device(site.settings.device))
    prediction[~session.features.valid] = np.nan
    return Affect(prediction, f"model of run {card.run}, round {card.round}")


def draw_session(session: Session, affect: Affect | None, lag_s: float | None, form: Format) -> bytes:
    """The picture's content.

    Parameters
    ----------
    lag_s : how far ratings trail the face; they are drawn that much earlier where a prediction is
        drawn with them, and as they were given otherwise.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    features, with_affect = session.features, session.ratings is not None or affect is not None
    heights = [0.28, 6.8, 1.5] + [1.5, 1.5] * with_affect
    look: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "mien",
        "font.size": 9,
        "axes.linewidth": 0.6,
    }
    with matplotlib.rc_context(look), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a box in its place says enough
        figure, axes = pyplot.subplots(
            len(heights),
            1,
            sharex=True,
            figsize=(10, sum(heights) + 1.3),
            layout="constrained",
            height_ratios=heights,
        )
        _draw_states(axes[0], features)
        _draw_units(axes[1], features)
        _draw_pose(axes[2], features)
        if with_affect:
            _draw_affect(axes[3:5], session, affect, lag_s)
        _title(axes[0], session, affect)
        _time_axis(axes[-1], float(features.time_s[-1]))
        for axis in axes[1:]:
            axis.spines[["top", "right"]].set_visible(False)
            _shade_missing(axis, features)
        figure.align_ylabels(axes[2:])
        picture = io.BytesIO()
        metadata = {"Date": None} if form == "svg" else {}
        figure.savefig(picture, format=form, dpi=130, metadata=metadata)
        pyplot.close(figure)
    return picture.getvalue()


def _title(axis: Any, session: Session, affect: Affect | None) -> None:
    record = session.record
    shares = seen_in_words(shares_of(record.seconds))
    by = {"mediapipe": "", "openface": " (OpenFace)", "py-feat": " (py-feat)"}[record.features_from]
    # A file's name stands in the title: any bytes, and dollar signs that mean no formula.
    name = record.source_name.encode(errors="replace").decode()
    shown = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
    axis.set_title(f"{shown}{by}", loc="left", fontsize=12, pad=40, parse_math=False)
    said = [shares] + ([affect.model] if affect is not None else [])
    axis.annotate(
        "; ".join(said), (0, 1), (0, 24), "axes fraction", "offset points", color="0.25", parse_math=False
    )


def _draw_states(axis: Any, features: Features) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    for state in FaceState:
        spans = gaps(features.time_s, features.state == state)
        axis.broken_barh(
            [(start, end - start) for start, end in spans], (0, 1), color=STATE_COLOURS[state], linewidth=0
        )
    switches = features.time_s[1:][np.diff(features.face) != 0]
    for moment in switches:
        axis.axvline(moment, color="white", linewidth=2.4)
        axis.axvline(moment, color="black", linewidth=0.9)
    handles: list[Any] = [
        Patch(facecolor=STATE_COLOURS[state], label="face seen" if state == FaceState.SEEN else WORDS[state])
        for state in FaceState
        if (features.state == state).any()
    ]
    if len(switches):
        handles.append(Line2D([], [], color="black", linewidth=0.9, label="another face"))
    axis.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1.05),
        ncols=8,
        frameon=False,
        handlelength=1.2,
        columnspacing=1.2,
        borderaxespad=0,
    )
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    axis.tick_params(bottom=False)


def _draw_units(axis: Any, features: Features) -> None:
    columns = [AU_V1.channels.index(name) for name in AU_CHANNELS]
    time_s, values = _thinned(features.time_s, features.values[:, columns])
    known = values[np.isfinite(values)]
    full = float(np.clip(np.ceil(np.percentile(known, 99.8)), 1, 5)) if known.size else 5.0
    labels = []
    for row, name in enumerate(AU_CHANNELS):
        base, trace = len(AU_CHANNELS) - 1 - row, values[:, row]
        words, colour = _UNITS[name]
        if name in EXPERIMENTAL:
            words, colour = f"{words} (experimental)", _UNTRIED
        axis.axhline(base, color="0.85", linewidth=0.5, zorder=0)
        height = base + 0.92 * np.minimum(trace, full) / full
        axis.fill_between(time_s, base, height, color=colour, alpha=0.25, linewidth=0)
        axis.plot(time_s, height, color=colour, linewidth=0.9)
        if not np.isfinite(trace).any():
            axis.text(0.5, base + 0.45, "never known", transform=axis.get_yaxis_transform(), color="0.5",
                      ha="center", va="center")  # fmt: skip
        labels.append(f"{words}  AU{int(name[2:4])}")
    axis.set_yticks(np.arange(len(AU_CHANNELS))[::-1] + 0.3, labels)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.set_ylim(-0.1, len(AU_CHANNELS))
    axis.text(
        1.0,
        1.0,
        f"row height: intensity {full:g} of 5",
        transform=axis.transAxes,
        ha="right",
        va="bottom",
        color="0.35",
    )


def _draw_pose(axis: Any, features: Features) -> None:
    columns = [AU_V1.channels.index(name) for name in POSE_CHANNELS]
    time_s, values = _thinned(features.time_s, np.degrees(features.values[:, columns]))
    for column, name in enumerate(POSE_CHANNELS):
        words, colour, style = _POSE[name]
        axis.plot(time_s, values[:, column], color=colour, linestyle=style, linewidth=1.2, label=words)
    axis.axhline(0, color="0.85", linewidth=0.6, zorder=0)
    axis.set_ylabel("head (°)")
    largest = float(np.nanmax(np.abs(values), initial=15.0, where=np.isfinite(values)))
    axis.set_ylim(-1.1 * largest, 1.1 * largest)
    _legend_above(axis)


def _draw_affect(axes: Any, session: Session, affect: Affect | None, lag_s: float | None) -> None:
    from .rated_recording import without_lag

    features, ratings, label = session.features, session.ratings, "rating"
    if ratings is not None and affect is not None and lag_s:
        ratings, label = without_lag(ratings, lag_s), f"rating, moved {lag_s:g} s back (the site's lag)"
    for column, (axis, name) in enumerate(zip(axes, TARGETS, strict=True)):
        axis.axhline(0, color="0.85", linewidth=0.6, zorder=0)
        if ratings is not None:
            time_s, values = _thinned(features.time_s, ratings[:, [column]])
            axis.plot(time_s, values[:, 0], color="0.35", linewidth=1.4, label=label)
        if affect is not None:
            time_s, values = _thinned(features.time_s, affect.prediction[:, [column]])
            axis.plot(time_s, values[:, 0], color=COLOURS[name], linewidth=1.4, label="prediction")
        axis.set_ylim(-1.05, 1.05)
        axis.set_yticks([-1, 0, 1])
        axis.set_ylabel(name)
        if column == 0:
            _legend_above(axis)


def _legend_above(axis: Any) -> None:
    axis.legend(
        loc="lower right", bbox_to_anchor=(1, 0.98), ncols=3, frameon=False, borderaxespad=0, handlelength=1.6
    )


def _shade_missing(axis: Any, features: Features) -> None:
    for start, end in gaps(features.time_s, ~features.valid):
        axis.axvspan(start, end, color="0.94", zorder=-1, linewidth=0)


def _time_axis(axis: Any, end_s: float) -> None:
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    axis.set_xlim(0, max(end_s, 0.04))
    if end_s >= 300:
        step_s = next((step for step in _MINUTE_STEPS_S if end_s / step <= 10), _MINUTE_STEPS_S[-1])
        axis.xaxis.set_major_locator(MultipleLocator(step_s))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda s, _: f"{int(s) // 60}:{int(s) % 60:02d}"))
        axis.set_xlabel("time (min:s); shaded: not used by a model")
    else:
        axis.set_xlabel("time (s); shaded: not used by a model")


def _thinned(
    time_s: NDArray[np.float64], values: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means over equal stretches of time, where there are more frames than a picture can show.

    A stretch in which less than half is known stays unknown.
    """
    frames = int(np.ceil(len(time_s) / _MOST_POINTS))
    whole = len(time_s) // frames * frames
    pieces = values[:whole].astype(np.float64).reshape(-1, frames, values.shape[1])
    known = np.isfinite(pieces)
    count = known.sum(axis=1)
    mean = np.where(known, pieces, 0.0).sum(axis=1) / np.maximum(count, 1)
    return time_s[:whole].reshape(-1, frames).mean(axis=1), np.where(2 * count >= frames, mean, np.nan)
