"""A street that the project renders itself: deterministic frames for rehearsals, tests and self-tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Scene"]

Frame = npt.NDArray[np.uint8]
Colour = tuple[float, float, float]
Point = tuple[float, float, float]

#: The street repeats after this many metres, and what is farther away is not drawn.
PERIOD_M = 120.0
NEAR_M = 1.0
SPEED_M = 0.35
CAMERA_HEIGHT_M = 1.5
ROAD_M, PAVEMENT_M = 4.5, 7.5
PLASTER: tuple[Colour, ...] = (
    (70, 84, 138), (152, 182, 200), (148, 150, 156), (96, 138, 176), (84, 92, 112), (118, 156, 178), (66, 72, 112),
)  # fmt: skip
HAZE: Colour = (214, 205, 196)
_SUBPIXEL_BITS = 4


class Scene:
    """A drive along a street with houses, trees, lamps, people and traffic.

    The same size, seed and index always give the same frame, whichever frames were rendered before.
    """

    def __init__(self, size_hw: tuple[int, int], seed: int = 0) -> None:
        """Lay out the street.

        Args:
            size_hw: Height and width of the frames, pixels, at least 16 each.
            seed: Of the houses, colours and traffic.
        """
        self.size_hw = size_hw
        rng = np.random.default_rng(seed)
        self._things = [*_houses(rng), *_trees(rng), *_lamps(), *_people(rng), *_cars(rng)]
        self._noise = rng.normal(0, 4, (size_hw[0] + 64, size_hw[1] + 64, 3))
        self._brighter = np.clip(self._noise, 0, 255).astype(np.uint8)
        self._darker = np.clip(-self._noise, 0, 255).astype(np.uint8)
        self._sky = _sky(size_hw)

    def render(self, index: int, out: Frame | None = None) -> Frame:
        """The frame at `index`, counted from 0.

        Args:
            index: Time in frames; the camera drives 0.35 m per frame.
            out: `(H, W, 3)` uint8 to draw into; without it a new array is made.

        Returns:
            `(H, W, 3)` uint8 BGR.
        """
        if out is None or out.shape != self._sky.shape:
            out = np.empty_like(self._sky)
        np.copyto(out, self._sky)
        view = _View(out)
        _draw_ground(view, index * SPEED_M)
        standing = [((z - index * SPEED_M * pace) % PERIOD_M, draw) for z, pace, draw in self._things]
        for distance, draw in sorted(standing, key=lambda thing: -thing[0]):
            draw(view, distance)
        view.paint()
        height, width = self.size_hw
        y, x = index * 37 % 64, index * 23 % 64
        cv2.add(out, self._brighter[y : y + height, x : x + width], dst=out)
        cv2.subtract(out, self._darker[y : y + height, x : x + width], dst=out)
        return out


#: What stands at a distance in metres, with its share of the camera's speed (1 stands still), and how it is drawn.
Thing = tuple[float, float, Callable[["_View", float], None]]


class _View:
    """A pinhole camera over a picture: metres (right, up from the ground, ahead) to pixels.

    What is drawn is noted, and painted at the end in its order: all corners are turned into pixels at once.
    """

    def __init__(self, picture: Frame) -> None:
        self.picture = picture
        self.horizon = 0.46 * picture.shape[0]
        self.focal = 0.8 * picture.shape[1]
        self._middle = picture.shape[1] / 2
        self._points: list[tuple[float, float]] = []
        self._shapes: list[tuple[int, int | None, Colour]] = []

    def face(self, corners: Sequence[Point], colour: Colour) -> None:
        """A flat convex face, paler with distance."""
        ahead = 0.0
        for x, y, z in corners:
            self._points.append(self._project(x, y, z))
            ahead += z
        self._shapes.append((len(corners), None, _hazy(colour, ahead / len(corners))))

    def ball(self, centre: Point, radius: float, colour: Colour) -> None:
        """A round thing, paler with distance."""
        self._points.append(self._project(*centre))
        size = round(radius * self.focal / max(centre[2], NEAR_M) * (1 << _SUBPIXEL_BITS))
        self._shapes.append((1, size, _hazy(colour, centre[2])))

    def paint(self) -> None:
        """Put into the picture what was drawn."""
        pixels = np.rint(np.array(self._points) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        begin = 0
        for corners, radius, colour in self._shapes:
            if radius is not None:
                cv2.circle(self.picture, pixels[begin], radius, colour, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)
            else:
                part = pixels[begin : begin + corners]
                cv2.fillConvexPoly(self.picture, part, colour, cv2.LINE_AA, _SUBPIXEL_BITS)
            begin += corners

    def upright(self, x: tuple[float, float], y: tuple[float, float], z: float, colour: Colour) -> None:
        """A rectangle that faces the camera."""
        self.face([(x[0], y[0], z), (x[1], y[0], z), (x[1], y[1], z), (x[0], y[1], z)], colour)

    def flat(self, x: tuple[float, float], z: tuple[float, float], colour: Colour) -> None:
        """A rectangle on the ground."""
        self.face([(x[0], 0, z[0]), (x[1], 0, z[0]), (x[1], 0, z[1]), (x[0], 0, z[1])], colour)

    def wall(self, x: float, y: tuple[float, float], z: tuple[float, float], colour: Colour) -> None:
        """A rectangle along the street."""
        self.face([(x, y[0], z[0]), (x, y[0], z[1]), (x, y[1], z[1]), (x, y[1], z[0])], colour)

    def _project(self, x: float, y: float, z: float) -> tuple[float, float]:
        scale = self.focal / (z if z > NEAR_M else NEAR_M)
        return self._middle + x * scale, self.horizon + (CAMERA_HEIGHT_M - y) * scale


def _hazy(colour: Colour, ahead: float) -> Colour:
    share = min(0.75, max(ahead, 0.0) / PERIOD_M)
    rest = 1 - share
    return colour[0] * rest + HAZE[0] * share, colour[1] * rest + HAZE[1] * share, colour[2] * rest + HAZE[2] * share


def _shade(colour: Colour, factor: float) -> Colour:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def _sky(size_hw: tuple[int, int]) -> Frame:
    top, low = np.array((235, 190, 150.0)), np.array((240, 228, 218.0))
    rise = np.linspace(0, 1, size_hw[0])[:, None, None]
    return np.array(np.broadcast_to(top + (low - top) * np.minimum(rise * 2, 1), (*size_hw, 3)), np.uint8, order="C")


def _draw_ground(view: _View, driven_m: float) -> None:
    bands = (NEAR_M, 4.0, 8.0, 16.0, 32.0, 64.0, PERIOD_M)
    strips: tuple[tuple[float, float, Colour], ...] = (
        (-80, 80, (142, 150, 153)),
        (-ROAD_M - 0.25, ROAD_M + 0.25, (176, 180, 180)),
        (-ROAD_M, ROAD_M, (86, 82, 80)),
    )
    for left, right, colour in strips:
        for near, far in zip(bands[-2::-1], bands[:0:-1], strict=True):
            view.flat((left, right), (near, far * 1.05), colour)
    for dash in np.arange(-driven_m % 8.0 - 8.0, PERIOD_M, 8.0):
        if dash + 3 > NEAR_M:
            view.flat((-0.08, 0.08), (max(float(dash), NEAR_M), float(dash) + 3), (225, 228, 228))


def _houses(rng: np.random.Generator) -> Iterator[Thing]:
    for side in (-1, 1):
        z = 0.0
        while z < PERIOD_M - 8:
            depth, height = float(rng.uniform(9, 15)), float(rng.uniform(6, 15))
            paint = _shade(PLASTER[rng.integers(len(PLASTER))], float(rng.uniform(0.85, 1.1)))
            yield z + depth, 1.0, partial(_draw_house, side=side, depth=depth, height=height, colour=paint)
            z += depth + float(rng.choice([0.0, 0.0, 3.0]))


def _draw_house(view: _View, z: float, *, side: int, depth: float, height: float, colour: Colour) -> None:
    """`z` is the far end, so that the houses before it are drawn over it."""
    x, near = side * PAVEMENT_M, max(z - depth, NEAR_M)
    if z <= NEAR_M:
        return
    if z - depth > NEAR_M:
        view.upright((x, x + side * 14), (0, height), near, _shade(colour, 0.7))
    view.wall(x, (0, height), (near, z), colour)
    view.wall(x, (0, 0.5), (near, z), _shade(colour, 0.6))
    for floor in np.arange(1.2, height - 1.6, 2.8):
        for start in np.arange(z - depth + 1, z - 1.5, 2.6):
            if start > NEAR_M:
                view.wall(x, (floor, floor + 1.5), (float(start), float(start) + 1.2), (92, 78, 66))


def _trees(rng: np.random.Generator) -> Iterator[Thing]:
    for z in np.arange(6, PERIOD_M, 17.0):
        side, green = int(rng.choice((-1, 1))), float(rng.uniform(85, 130))
        yield float(z), 1.0, partial(_draw_tree, x=side * 6.6, green=green)


def _draw_tree(view: _View, z: float, *, x: float, green: float) -> None:
    if z > NEAR_M * 2:
        view.upright((x - 0.15, x + 0.15), (0, 2.6), z, (52, 66, 84))
        for dx, y, radius, light in (
            (0, 3.6, 1.5, 0.8),
            (-0.7, 3.2, 1.0, 0.9),
            (0.6, 3.4, 1.0, 1.0),
            (0, 4.5, 1.0, 1.1),
        ):
            view.ball((x + dx, y, z), radius, (green * 0.45 * light, green * light, green * 0.6 * light))


def _lamps() -> Iterator[Thing]:
    for number, z in enumerate(np.arange(3, PERIOD_M, 20.0)):
        yield float(z), 1.0, partial(_draw_lamp, side=1 if number % 2 else -1)


def _draw_lamp(view: _View, z: float, *, side: int) -> None:
    if z > NEAR_M * 2:
        x = side * 5.2
        view.upright((x - 0.07, x + 0.07), (0, 5.5), z, (70, 72, 70))
        view.upright((x, x - side * 1.4), (5.4, 5.55), z, (70, 72, 70))


def _people(rng: np.random.Generator) -> Iterator[Thing]:
    for z in np.arange(9, PERIOD_M, 13.0):
        coat = (float(rng.uniform(30, 160)), float(rng.uniform(30, 120)), float(rng.uniform(30, 180)))
        x = float(rng.choice((-1, 1)) * rng.uniform(5.4, 6.8))
        yield float(z), float(rng.choice((0.9, 1.1))), partial(_draw_person, x=x, coat=coat)


def _draw_person(view: _View, z: float, *, x: float, coat: Colour) -> None:
    if z > NEAR_M * 2:
        view.upright((x - 0.16, x + 0.16), (0, 0.85), z, (58, 46, 44))
        view.upright((x - 0.24, x + 0.24), (0.8, 1.45), z, coat)
        view.ball((x, 1.6, z), 0.13, (120, 150, 195))


def _cars(rng: np.random.Generator) -> Iterator[Thing]:
    for z, x, pace in ((14, 2.2, 0.12), (52, 2.3, 0.3), (30, -2.2, 2.2), (75, -2.3, 1.9), (100, -2.2, 2.0)):
        paint = (float(rng.uniform(30, 200)), float(rng.uniform(30, 120)), float(rng.uniform(30, 200)))
        yield float(z), pace, partial(_draw_car, x=x, paint=paint)
    for parked in np.arange(20, PERIOD_M, 23.0):
        grey = float(rng.uniform(40, 190))
        yield float(parked), 1.0, partial(_draw_car, x=3.7, paint=(grey, grey, grey))


def _draw_car(view: _View, z: float, *, x: float, paint: Colour) -> None:
    """`z` is the rear; the flank that the camera sees is the one towards the middle."""
    if z <= NEAR_M * 2.5:
        return
    half, far = 0.9, z + 4.0
    flank = x - half if x > 0 else x + half
    view.flat((x - half - 0.15, x + half + 0.15), (z - 0.2, far), (52, 50, 50))
    view.wall(flank, (0.25, 0.95), (z, far), _shade(paint, 0.75))
    view.wall(flank, (0.95, 1.5), (z + 0.6, far - 1.2), (70, 62, 56))
    view.upright((x - half, x + half), (0.25, 0.95), z, paint)
    view.upright((x - half * 0.9, x + half * 0.9), (0.95, 1.5), z + 0.5, _shade(paint, 0.85))
    view.upright((x - half * 0.78, x + half * 0.78), (0.98, 1.42), z + 0.4, (74, 66, 60))
    for lamp in (x - 0.7, x + 0.7):
        view.upright((lamp - 0.14, lamp + 0.14), (0.6, 0.78), z, (60, 50, 200) if x > 0 else (210, 235, 240))
        view.upright((lamp - 0.12, lamp + 0.12), (0, 0.3), z, (28, 28, 28))
