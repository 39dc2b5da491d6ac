"""A session as a CSV file laid out as OpenFace 2 writes it, for tools that read OpenFace.

Columns ``frame, face_id, timestamp, confidence, success``, pose and AU intensities, with OpenFace's
blanks after the commas. Unlike OpenFace, a frame without a face has ``nan``, not a number.
"""

import io

from mien_common.schema import AU_V1, STATIC_CHANNELS

from .features import Features


def openface_csv(features: Features) -> bytes:
    """The CSV file's content: one row per frame of the 25 Hz clock."""
    poses_first = sorted(STATIC_CHANNELS, key=lambda name: name.startswith("AU"))
    columns = [AU_V1.channels.index(name) for name in poses_first]
    text = io.StringIO()
    text.write(", ".join(["frame", "face_id", "timestamp", "confidence", "success", *poses_first]) + "\n")
    for number, (time_s, valid, values) in enumerate(
        zip(features.time_s, features.valid, features.values, strict=True), start=1
    ):
        found = int(valid)
        numbers = ", ".join(f"{value:.4f}" for value in values[columns])
        text.write(f"{number}, 0, {time_s:.3f}, {found:.2f}, {found}, {numbers}\n")
    return text.getvalue().encode()
