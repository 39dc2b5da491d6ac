"""An RTSP server of a small moving picture, by GStreamer: the camera in the network that tests have.

Run by Debian's own Python (packages python3-gi, gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-base,
gstreamer1.0-plugins-good): ``python3 rtsp_server.py PORT [USER:PASSWORD]``; prints ``ready``.
"""

import sys

import gi  # type: ignore[import-not-found]  # a Debian package

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found]  # noqa: E402

PICTURES = "video/x-raw,format=I420,width=160,height=120,framerate=25/1"
PIPELINE = f"( videotestsrc is-live=true pattern=ball ! {PICTURES} ! jpegenc ! rtpjpegpay name=pay0 pt=26 )"

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_shared(True)
factory.set_launch(PIPELINE)
if len(sys.argv) > 2:
    user, _, password = sys.argv[2].partition(":")
    role = GstRtspServer.RTSPToken()
    role.set_string("media.factory.role", "guest")
    guard = GstRtspServer.RTSPAuth()
    guard.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), role)
    server.set_auth(guard)
    allowed = GstRtspServer.RTSPPermissions()
    for right in ("access", "construct"):
        allowed.add_permission_for_role("guest", f"media.factory.{right}", True)
    factory.set_permissions(allowed)
server.get_mount_points().add_factory("/face", factory)
if server.attach(None) == 0:
    sys.exit(f"port {sys.argv[1]} is taken")
sys.stdout.write("ready\n")
sys.stdout.flush()
GLib.MainLoop().run()
