"""Pictures of traces, as PNG bytes."""

import io
import warnings
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien_common.schema import TARGETS

# Okabe & Ito's colours, which colour-blind readers can tell apart.
COLOURS: Final = {"valence": "#0072B2", "arousal": "#D55E00"}


def plot_prediction(
    time_s: NDArray[np.float64],
    prediction: NDArray[np.float32],
    ratings: NDArray[np.float32] | None,
    title: str,
    rating_label: str = "rating",
) -> bytes:
    """Valence and arousal over time, the ratings under them where there are any.

    Parameters
    ----------
    time_s : (frames,) seconds.
    prediction : (frames, 2); NaN where no face was seen, drawn as a gap.
    ratings : (frames, 2) or None.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 1, sharex=True, figsize=(10, 5), layout="constrained")
    for row, (axis, name) in enumerate(zip(axes, TARGETS, strict=True)):
        if ratings is not None:
            axis.plot(time_s, ratings[:, row], color="0.55", linewidth=1.4, label=rating_label)
        axis.plot(time_s, prediction[:, row], color=COLOURS[name], linewidth=1.6, label="prediction")
        axis.axhline(0, color="0.85", linewidth=0.8, zorder=0)
        axis.set_ylim(-1.05, 1.05)
        axis.set_ylabel(name)
        axis.spines[["top", "right"]].set_visible(False)
        for start, end in gaps(time_s, ~np.isfinite(prediction[:, row])):
            axis.axvspan(start, end, color="0.93", zorder=0)
        if ratings is not None:
            axis.legend(loc="upper right", frameon=False, ncols=2)
    # A file's name stands in the title: any bytes, and dollar signs that mean no formula.
    readable = title.encode(errors="replace").decode()
    axes[0].set_title(readable, loc="left", fontsize=11, parse_math=False)
    axes[-1].set_xlabel("time (s); shaded: no face seen")
    axes[-1].set_xlim(0, max(float(time_s[-1]), 0.04))
    picture = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a box in its place says enough
        figure.savefig(picture, format="png", dpi=120)
    pyplot.close(figure)
    return picture.getvalue()


def gaps(time_s: NDArray[np.float64], missing: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Start and end, seconds, of each stretch of frames in which ``missing`` holds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(int)))
    return [
        (float(time_s[start]), float(time_s[min(end, len(time_s) - 1)]))
        for start, end in zip(edges[::2], edges[1::2], strict=True)
    ]
