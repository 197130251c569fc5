"""Plots as SVG, drawn without a library: ranges on a line for each row, and bars of stacked parts.

They are read on white and on dark pages: nothing is painted behind them, and colours follow the reader's scheme.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, RIGHT, TOP, ROW, FOOT = 720, 70, 44, 26, 40
# Of a letter, at most, in pixels; labels stand at the left.
LETTER = 7
PARTS = ("#2f81f7", "#2da44e", "#d4a72c", "#a475f9", "#e16f24", "#6e7781", "#1b9e9e")
STYLE = (
    "text{font:12px -apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#57606a}.title{font-weight:600}"
    ".grid{stroke:#8c959f;stroke-opacity:.35}.limit{stroke:#cf222e;stroke-dasharray:4 3}.range{stroke-width:3}"
    ".ours{fill:#2f81f7;stroke:#2f81f7}.theirs{fill:#8c959f;stroke:#8c959f}"
    "@media(prefers-color-scheme:dark){text{fill:#adbac7}.limit{stroke:#ff7b72}}"
)


@dataclass(frozen=True, slots=True)
class Range:
    """A row of a plot: lowest, median and highest of the rounds. `ours` stands out."""

    label: str
    low: float
    middle: float
    high: float
    ours: bool = False


class Scale:
    """Maps values to places between the left and the right end of a plot."""

    def __init__(self, labels: Iterable[str], lowest: float, highest: float, *, logarithmic: bool) -> None:
        self.left = 20 + LETTER * max(16, *map(len, labels))
        self._log = logarithmic
        self.low = 10 ** math.floor(math.log10(lowest)) if logarithmic else 0.0
        self.step = 1.0 if logarithmic else _step(highest)
        self.high = 10 ** math.ceil(math.log10(highest)) if logarithmic else math.ceil(highest / self.step) * self.step

    def place(self, value: float) -> float:
        """Returns where a value is, in pixels from the left."""
        if self._log:
            share = math.log10(max(value, self.low) / self.low) / math.log10(self.high / self.low)
        else:
            share = value / self.high
        return self.left + share * (WIDTH - self.left - RIGHT)

    def marks(self) -> Iterator[float]:
        """Yields the values that get a line."""
        value = self.low
        while value <= self.high * 1.0001:
            yield value
            value = value * 10 if self._log else value + self.step


def ranges(title: str, unit: str, rows: Sequence[Range], *, limit: float = 0, logarithmic: bool = False) -> str:
    """Returns a plot of ranges, with a line at `limit` where there is one. There is at least one row, all above 0."""
    highest = max(*(row.high for row in rows), limit)
    scale = Scale([row.label for row in rows], min(row.low for row in rows), highest, logarithmic=logarithmic)
    parts = []
    for number, row in enumerate(rows):
        y = TOP + ROW * number + ROW / 2
        kind = "ours" if row.ours else "theirs"
        low, middle, high = (scale.place(value) for value in (row.low, row.middle, row.high))
        parts.append(_text(scale.left - 10, y + 4, row.label, "end"))
        parts.append(f'<line class="range {kind}" x1="{low:.1f}" y1="{y:.1f}" x2="{high:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<circle class="{kind}" cx="{middle:.1f}" cy="{y:.1f}" r="5"/>')
        parts.append(_text(high + 9, y + 4, figure(row.middle)))
    if limit:
        x, foot = scale.place(limit), TOP + ROW * len(rows)
        parts.append(f'<line class="limit" x1="{x:.1f}" y1="{TOP - 4}" x2="{x:.1f}" y2="{foot}"/>')
    notes = ["dot: median, line: lowest to highest"]
    notes += ["logarithmic"] if logarithmic else []
    notes += [f"dashed: target {figure(limit)}"] if limit else []
    return _whole(title, f"{unit} ({'; '.join(notes)})", len(rows), scale, parts)


def stacks(title: str, unit: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """Returns a plot of bars; every row has the same parts, at least one."""
    names = list(next(iter(rows.values())))
    scale = Scale(rows, 1, max(sum(parts.values()) for parts in rows.values()), logarithmic=False)
    drawn = []
    for number, (label, values) in enumerate(rows.items()):
        y, x = TOP + ROW * number + 5, float(scale.left)
        drawn.append(_text(scale.left - 10, y + 12, label, "end"))
        for name, colour in zip(names, PARTS, strict=False):
            width = scale.place(values[name]) - scale.left
            drawn.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 10}" fill="{colour}"/>')
            x += width
        drawn.append(_text(x + 6, y + 12, figure(sum(values.values()))))
    x = float(scale.left)
    for name, colour in zip(names, PARTS, strict=False):
        drawn.append(f'<rect x="{x:.0f}" y="{TOP - 16}" width="10" height="10" fill="{colour}"/>')
        drawn.append(_text(x + 14, TOP - 7, name))
        x += 26 + 7 * len(name)
    return _whole(title, unit, len(rows), scale, drawn)


def figure(value: float) -> str:
    """Returns a number with as many digits as say something."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _step(highest: float) -> float:
    """Returns a round step of which there are at most six."""
    size = 10 ** math.floor(math.log10(highest / 5))
    return next(size * factor for factor in (1, 2, 5, 10) if highest / (size * factor) <= 6)


def _whole(title: str, unit: str, rows: int, scale: Scale, parts: Sequence[str]) -> str:
    foot = TOP + ROW * rows
    grid = []
    for mark in scale.marks():
        x = scale.place(mark)
        grid.append(f'<line class="grid" x1="{x:.1f}" y1="{TOP - 4}" x2="{x:.1f}" y2="{foot}"/>')
        grid.append(_text(x, foot + 14, f"{mark:g}", "middle"))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {foot + FOOT}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<text class="title" x="10" y="16">{escape(title)}</text>',
        *grid,
        *parts,
        _text(10, foot + 32, unit),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
