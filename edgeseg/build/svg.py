"""Charts as SVG files: what they share. They are for light viewers and dark ones, and need nothing from elsewhere."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

__all__ = [
    "LONGEST_NAME",
    "LONGEST_TEXT",
    "MARGIN",
    "NOTE_LETTER",
    "document",
    "heading",
    "printable",
    "shortened",
    "text_at",
    "ticks",
    "tip",
]

#: What XML 1.0 has no place for, even escaped.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: Letters of a name, and of another text, that are shown; of a longer one the middle is left out.
LONGEST_NAME, LONGEST_TEXT = 44, 140
#: Pixels: of a letter of texts but names, and around all.
NOTE_LETTER, MARGIN = 6.2, 16
#: Of an axis, so that next to nothing looks like it.
LEAST_SPAN = 0.1

#: Plain classes, because not every viewer knows CSS variables. Colours are told apart by the colour-blind too.
_STYLE = """
    text { font: 11px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328 }
    .title { font-size: 16px; font-weight: 600 }
    .panel { font-size: 12px; font-weight: 600 }
    .name { font-family: ui-monospace, 'DejaVu Sans Mono', monospace }
    .note { fill: #59636e; color: #59636e }
    .paper { fill: #ffffff }
    .grid { stroke: #dfe3e8 }
    .zero { stroke: #59636e }
    .a { fill: #0072b2; color: #0072b2 }
    .b { fill: #c2570c; color: #c2570c }
    .c { fill: #00785a; color: #00785a }
    path.ring { fill: #ffffff; stroke: currentColor; stroke-width: 2 }
    .front { fill: none; stroke: #59636e; stroke-width: 1.5; stroke-dasharray: 5 3 }
    .leader { stroke: #9da7b1 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .note { fill: #9da7b1; color: #9da7b1 }
      .paper { fill: #0d1117 }
      .grid { stroke: #2b323b }
      .zero { stroke: #9da7b1 }
      .a { fill: #56a8e0; color: #56a8e0 }
      .b { fill: #f0883e; color: #f0883e }
      .c { fill: #3fbf95; color: #3fbf95 }
      path.ring { fill: #0d1117 }
      .front { stroke: #9da7b1 }
      .leader { stroke: #59636e }
    }
"""


def document(title: str, width: float, height: float, body: Sequence[str]) -> str:
    """A whole SVG file of that many pixels; `title` is what readers of the screen say of it."""
    size = f"{width:.0f} {height:.0f}".split()
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
            f'viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label={quoteattr(printable(title))}>',
            f"  <style>{_STYLE}  </style>",
            '  <rect class="paper" width="100%" height="100%"/>',
            *(f"  {part}" for part in body),
            "</svg>\n",
        )
    )


def heading(title: str, notes: Sequence[str]) -> tuple[list[str], float, float]:
    """A chart's title and the lines below it: elements, the pixel where they end, and the pixels that they are wide."""
    shown = [shortened(printable(note), LONGEST_TEXT) for note in notes]
    body = [text_at(MARGIN, 28, shortened(printable(title), LONGEST_TEXT), "title")]
    body += [text_at(MARGIN, 50 + 16 * index, note, "note") for index, note in enumerate(shown)]
    return body, 34 + 16 * len(notes), 2 * MARGIN + NOTE_LETTER * max(map(len, shown), default=0)


def ticks(low: float, high: float, most: int = 7) -> tuple[float, ...]:
    """Round numbers at even steps, the first at most `low`, the last at least `high`, `most` in all."""
    high = max(high, low + LEAST_SPAN)
    rough = (high - low) / (most - 2)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(index * step, 12) for index in range(first, last + 1))


def text_at(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    """A line of text in the classes `kind`; `y` is that of its base line."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(printable(text))}</text>'


def tip(text: str) -> str:
    """What shows where the mouse rests on the element that this lies in."""
    return f"<title>{escape(printable(text))}</title>"


def printable(text: str) -> str:
    """One line that XML can hold."""
    return " ".join(_NO_XML.sub("\ufffd", text).split())


def shortened(text: str, longest: int) -> str:
    """At most that many letters, the middle left out."""
    half = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[:half]}\u2026{text[-half:]}"
