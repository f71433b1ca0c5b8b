#!/bin/sh
# Install what tests use of Debian's packages, as root on Debian; elsewhere those tests are skipped, and say why.
#
# Usage: tests/debian.sh [browser]
set -eu

packages="gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly
gstreamer1.0-libav python3-gi"
if [ "${1:-}" = browser ]; then
    packages="$packages chromium xdotool xvfb"
fi
missing=$(for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
done)
if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Not installed here, so that some tests are skipped:" $missing
    exit 0
fi
echo "Installing for the tests:" $missing
export DEBIAN_FRONTEND=noninteractive
{ apt-get update -qq && apt-get install -qq --no-install-recommends $missing; } >/dev/null 2>&1 ||
    echo "They could not be installed; some tests are skipped."
