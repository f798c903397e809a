"""A small plotter: lines over steps as inline SVG that follows the page's colours."""

import dataclasses
import math
from collections.abc import Sequence

from r3jax.view.page import escape

WIDTH, HEIGHT = 360, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 10, 8, 24
_NUM_COLOURS = 6
SMOOTH_FROM = 40  # points; longer curves get a running mean over a faint raw line
START = 20  # the first 1/START of a long curve does not set the scale: it would flatten the rest


@dataclasses.dataclass(frozen=True)
class Series:
    """One curve: equally long x and y, every number finite."""

    label: str
    x: Sequence[float]
    y: Sequence[float]

    def __post_init__(self):
        if len(self.x) != len(self.y) or not len(self.x):
            raise ValueError(
                f"series {self.label!r} has {len(self.x)} x and {len(self.y)} y values; "
                "give as many of each, at least one"
            )
        if not all(math.isfinite(value) for value in (*self.x, *self.y)):
            raise ValueError(f"series {self.label!r} has a value that is not finite; drop it first")


def line_plot(
    title: str, series: Sequence[Series], x_label: str = "step", include: Sequence[float] = ()
) -> str:
    """A `<figure>` with axes, ticks, legend and one line for each series.

    `include` are values that the y axis shows in any case (0 and 1 for shares). Points of the
    steep start of a long curve that leave the scale are not drawn; its first value is told.
    """
    if not series:
        raise ValueError(f"plot {title!r} has no series; leave it out")
    x_values = [x for one in series for x in one.x]
    y_values = [y for one in series for y in _settled(one.y)] + list(include)
    x_low, x_high = min(x_values), max(x_values)
    x_ticks = ticks(x_low, x_high, 5)
    y_ticks = ticks(min(y_values), max(y_values), 4)
    scale = _Scale(x_low, x_high if x_high > x_low else x_low + 1, y_ticks[0], y_ticks[-1])
    body = _axes(scale, [t for t in x_ticks if x_low <= t <= x_high], y_ticks, x_label)
    body += "".join(_curve(one, scale, i % _NUM_COLOURS) for i, one in enumerate(series))
    cut = ", ".join(f"{one.y[0]:.3g}" for one in series if not scale.holds(one.y[0]))
    if cut:
        body += f'<text x="{_LEFT + 4}" y="{_TOP + 10}">begins at {cut}</text>'
    keys = "".join(
        f'<span class="key"><i style="background:var(--s{i % _NUM_COLOURS})"></i>'
        f"{escape(one.label)}</span>"
        for i, one in enumerate(series)
        if len(series) > 1
    )
    last = ", ".join(f"{one.label} {one.y[-1]:.4g}" for one in series)
    return (
        f'<figure class="plot"><figcaption><span>{escape(title)}</span>{keys}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}, last: {escape(last)}">{body}</svg></figure>'
    )


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers that span low to high, about `count` of them.

    >>> ticks(0.13, 0.87, 4)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if high - low < 1e-12 * max(abs(low), abs(high), 1e-12):
        low, high = low - abs(low or 1) / 2, high + abs(high or 1) / 2
    rough = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = magnitude * next(m for m in (1, 2, 2.5, 5, 10) if m * magnitude >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, 2 - math.floor(math.log10(step)))
    return [round(i * step, digits) + 0.0 for i in range(first, last + 1)]


def _settled(values: Sequence[float]) -> Sequence[float]:
    """The values without the first part of a long curve."""
    return values[len(values) // START :] if len(values) >= SMOOTH_FROM else values


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Mean of the last `window` values (fewer at the start)."""
    means, total = [], 0.0
    for i, value in enumerate(values):
        total += value - (values[i - window] if i >= window else 0.0)
        means.append(total / min(i + 1, window))
    return means


@dataclasses.dataclass(frozen=True)
class _Scale:
    """From data to the pixels of the drawing."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        part = (value - self.x_low) / (self.x_high - self.x_low)
        return _LEFT + part * (WIDTH - _LEFT - _RIGHT)

    def holds(self, value: float) -> bool:
        return self.y_low <= value <= self.y_high

    def y(self, value: float) -> float:
        part = (value - self.y_low) / (self.y_high - self.y_low)
        return HEIGHT - _BOTTOM - part * (HEIGHT - _TOP - _BOTTOM)


def _axes(scale: _Scale, x_ticks: Sequence[float], y_ticks: Sequence[float], x_label: str) -> str:
    """Grid lines, tick labels and the name of the x axis."""
    parts = []
    for value in y_ticks:
        y = scale.y(value)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{_tick(value)}</text>'
        )
    for value in x_ticks:
        parts.append(
            f'<text x="{scale.x(value):.1f}" y="{HEIGHT - 8}" text-anchor="middle">'
            f"{_tick(value)}</text>"
        )
    parts.append(
        f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT + 3}" text-anchor="end">{escape(x_label)}</text>'
    )
    return "".join(parts)


def _curve(series: Series, scale: _Scale, colour: int) -> str:
    """A line; with many points a running mean over the faint raw line; one point is a dot."""
    stroke = f'style="stroke:var(--s{colour})"'
    smooth = list(series.y)
    faint = ""
    if len(series.x) >= SMOOTH_FROM:
        faint = f'<polyline class="curve faint" {stroke} points="{_points(series, scale)}"/>'
        smooth = running_mean(series.y, max(5, len(series.y) // 25))
    line = _points(Series(series.label, series.x, smooth), scale)
    x, y = scale.x(series.x[-1]), scale.y(smooth[-1])
    return (
        f'{faint}<polyline class="curve" {stroke} points="{line}"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" style="fill:var(--s{colour})">'
        f"<title>{escape(series.label)}: {smooth[-1]:.4g}</title></circle>"
    )


def _points(series: Series, scale: _Scale) -> str:
    return " ".join(
        f"{scale.x(x):.1f},{scale.y(y):.1f}" for x, y in zip(series.x, series.y) if scale.holds(y)
    )


def _tick(value: float) -> str:
    """A short label: 0.25, 12, 4k, 1e-05."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:g}"
