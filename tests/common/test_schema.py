"""The schema is a contract: models of one name must mean the same channels for ever."""

import hashlib

from mien_common.schema import AU_CHANNELS, AU_V1, DELTA_CHANNELS, POSE_CHANNELS, STATIC_CHANNELS, TARGETS


def test_au_v1_is_what_it_was() -> None:
    """Whoever changes a channel, its place or the clock makes an au-v2."""
    said = "\n".join((AU_V1.name, *AU_V1.channels, str(AU_V1.rate_hz), *TARGETS))
    assert hashlib.sha256(said.encode()).hexdigest() == DIGEST


DIGEST = "4b6937bae850bf67108a296fc1c761336b33f74e5f22384bcaf22b57946de053"


def test_it_mirrors_recolas_forty_video_attributes() -> None:
    assert len(AU_CHANNELS) == 17
    assert POSE_CHANNELS == ("pose_Rx", "pose_Ry", "pose_Rz")
    assert len(AU_V1.channels) == len(set(AU_V1.channels)) == 40
    assert AU_V1.channels == STATIC_CHANNELS + DELTA_CHANNELS
    assert tuple(name.removesuffix("_delta") for name in DELTA_CHANNELS) == STATIC_CHANNELS
    assert AU_V1.rate_hz == 25.0
    assert TARGETS == ("valence", "arousal")
