"""A stand-in for picamera2, which runs on a Raspberry Pi alone.

Names, parameters and what they give are those of picamera2 0.3.38: `global_camera_info`, `create_video_configuration`
(whose sizes are aligned to even numbers), `configure`, `camera_configuration`, `start`, `capture_request` with its
`wait` in seconds, `close`, and of a request `get_metadata`, `release` and `MappedArray`, whose rows may be padded.
"RGB888" is blue, green, red in memory. The metadata is that of a High Quality Camera, but for its time stamp.
"""

from __future__ import annotations

import time
from concurrent.futures import TimeoutError as SilentError
from typing import Any

import numpy as np
import numpy.typing as npt

BLUE, GREEN, RED = 200, 100, 50
METADATA = {
    "SensorTimestamp": 384212876000,
    "ExposureTime": 1683,
    "ColourTemperature": 6492,
    "FocusFoM": 3026,
    "Lux": 4252.03662109375,
    "AnalogueGain": 1.0,
    "FrameDuration": 24994,
    "SensorTemperature": 29.0,
    "AeLocked": True,
    "ColourGains": (3.7570343017578125, 1.5040658712387085),
    "DigitalGain": 1.0002936124801636,
    "ScalerCrop": (2, 0, 4052, 3040),
}


class Picamera2:
    """One camera. What all of them do is set on the class: how many there are, and what goes wrong."""

    models: tuple[str, ...] = ("imx477",)
    fault = ""
    stamp_offset_ns: int | None = -8_000_000
    closed = released = 0

    def __init__(self, camera_num: int = 0) -> None:
        if self.fault == "busy":
            raise RuntimeError("Camera __init__ sequence did not complete.")
        self.camera_num = camera_num
        self._config: dict[str, Any] = {}
        self.started = False

    @classmethod
    def global_camera_info(cls) -> list[dict[str, Any]]:
        path = "/base/axi/pcie@120000/rp1/i2c@88000/"
        return [
            {"Model": model, "Location": 2, "Rotation": 180, "Id": f"{path}{model}@1a", "Num": number}
            for number, model in enumerate(cls.models)
        ]

    def create_video_configuration(
        self, main: dict[str, Any], buffer_count: int = 6, controls: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        width, height = main["size"]
        if main["format"] not in ("RGB888", "BGR888"):
            raise RuntimeError(f"Bad format {main['format']} in stream main")
        size = (width - width % 2, height - height % 2)
        return {"main": main | {"size": size}, "buffer_count": buffer_count, "controls": controls or {}}

    def configure(self, camera_config: dict[str, Any]) -> None:
        self._config = camera_config

    def camera_configuration(self) -> dict[str, Any]:
        return self._config

    def start(self) -> None:
        if not self._config:
            raise RuntimeError("Camera has not been configured")
        self.started = True

    def capture_request(self, wait: float | None = None) -> Request:
        assert self.started and wait is not None
        if self.fault == "silent":
            raise SilentError
        return Request(self)

    def close(self) -> None:
        if self.started:
            type(self).closed += 1
        self.started = False


class Request:
    def __init__(self, camera: Picamera2) -> None:
        self.camera, self.config = camera, camera.camera_configuration()["main"]

    def get_metadata(self) -> dict[str, Any]:
        if self.camera.stamp_offset_ns is None:
            return {key: value for key, value in METADATA.items() if key != "SensorTimestamp"}
        return METADATA | {"SensorTimestamp": time.monotonic_ns() + self.camera.stamp_offset_ns}

    def release(self) -> None:
        type(self.camera).released += 1


class MappedArray:
    def __init__(self, request: Request, stream: str, reshape: bool = True, write: bool = True) -> None:
        assert (stream, reshape, write) == ("main", True, False)
        width, height = request.config["size"]
        colour = (BLUE, GREEN, RED) if request.config["format"] == "RGB888" else (RED, GREEN, BLUE)
        padded = np.zeros((height, width + 11, 3), np.uint8)
        padded[:, :width] = colour
        self._array: npt.NDArray[np.uint8] = padded[:, :width]

    def __enter__(self) -> MappedArray:
        return self

    def __exit__(self, *_: object) -> None:
        self._array[:] = 0

    @property
    def array(self) -> npt.NDArray[np.uint8]:
        return self._array
