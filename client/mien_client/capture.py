"""The old name of :mod:`mien_client.sources.video_file`, until all who use it have moved."""

from .sources.video_file import VideoFile as Video
from .sources.video_file import open_video_file as open_video

__all__ = ["Video", "open_video"]
