"""A process that records until it is killed."""

from __future__ import annotations

import contextlib
from pathlib import Path

from edgeseg.files import write_bytes
from edgeseg.stream.sinks.images import ClassMapFolder, NumberedImages, encode_image
from edgeseg.stream.sinks.jsonl import AreaLines
from edgeseg.stream.sinks.video import VideoSink
from tests.data.media import street
from tests.stream.parts import LABELS, segmented

__all__ = ["FPS", "FRAMES", "record"]

#: Frames of one video, and how many of them make a second of it. It is recorded as fast as it can be.
FRAMES, FPS = 35, 10
PICTURES = street(FRAMES, (96, 128))


def record(folder: Path) -> None:
    """Write videos to one name, one after the other; their areas, class maps, pictures and screenshots beside them."""
    with contextlib.closing(AreaLines(folder / "areas.jsonl", LABELS)) as areas:
        pictures = ClassMapFolder(folder / "maps", LABELS), NumberedImages(folder / "pictures" / "%i.png")
        while True:
            with contextlib.closing(VideoSink(folder / "out.mp4", FPS, by_capture_time=True)) as video:
                for number in range(FRAMES):
                    picture = PICTURES[number]
                    class_map, time_ns = picture[..., 1] // 64, number * 10**9 // FPS
                    given = segmented(picture, number, class_map=class_map, captured_ns=time_ns)
                    for sink in (video, *pictures, areas):
                        sink.write(given)
                    if number % 10 == 0:
                        write_bytes(folder / "screenshot.png", encode_image(given.overlay, ".png"))
