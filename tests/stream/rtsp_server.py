"""A real RTSP server on loopback: `python rtsp_server.py PORT [--user U --password P] [--size 320x240] [--fps 15]`.

It prints its address once it listens; port 0 takes a free one. One encoder serves all clients, as in a camera, so that
who comes later joins between two key frames. It needs GStreamer and PyGObject, which Debian has for its own Python.
"""

from __future__ import annotations

import argparse
import sys

sys.path.append("/usr/lib/python3/dist-packages")

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")

from gi.repository import GLib, Gst, GstRtsp, GstRtspServer

PATH = "/street"
ROLE = "viewer"


def make_pipeline(width: int, height: int, fps: int) -> str:
    """The pipeline of a moving pattern, in the notation of `gst-launch`."""
    return (
        "( videotestsrc is-live=true pattern=smpte horizontal-speed=4 "
        f"! video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 "
        f"! x264enc tune=zerolatency speed-preset=ultrafast threads=1 key-int-max={max(1, fps // 2)} "
        "! rtph264pay name=pay0 pt=96 config-interval=-1 )"
    )


def demand_password(
    server: GstRtspServer.RTSPServer, factory: GstRtspServer.RTSPMediaFactory, user: str, password: str
) -> None:
    """Let in by digest alone, as cameras do, who knows both words."""
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", ROLE)
    permissions = GstRtspServer.RTSPPermissions()
    for right in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role(ROLE, right, True)
    factory.set_permissions(permissions)
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    auth.add_digest(user, password, token)
    server.set_auth(auth)


def main() -> None:
    """Serve until it is killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--fps", type=int, default=15)
    options = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(options.port))
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(make_pipeline(*(int(side) for side in options.size.split("x")), options.fps))
    factory.set_shared(True)
    if options.user:
        demand_password(server, factory, options.user, options.password)
    server.get_mount_points().add_factory(PATH, factory)
    if not server.attach(None):
        raise SystemExit(f"Port {options.port} is taken.")
    print(f"rtsp://127.0.0.1:{server.get_bound_port()}{PATH}", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
