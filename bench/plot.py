"""A line through points as an SVG picture: the horizontal axis in powers of ten, the vertical one from zero."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from attrs import frozen

WIDTH: Final = 720
HEIGHT: Final = 400
LEFT: Final = 80
RIGHT: Final = 30
TOP: Final = 50
BOTTOM: Final = 60
STEPS: Final = (1, 2, 2.5, 5, 10)  # between the lines of the vertical axis, times a power of ten

_HEAD: Final = f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">
<rect width="100%" height="100%" fill="white"/>
"""  # noqa: E501 -- one element, one line


@frozen
class Plot:
    """What to draw; both kinds of values are positive."""

    title: str
    x_label: str
    y_label: str
    points: Sequence[tuple[float, float]]

    def svg(self) -> str:
        """The picture."""
        return _HEAD + "\n".join([*self._frame(), *self._line(), "</svg>\n"])

    def _frame(self) -> Iterator[str]:
        middle = (LEFT + WIDTH - RIGHT) / 2
        yield _text(middle, TOP / 2, self.title, size=16)
        yield _text(middle, HEIGHT - 15, self.x_label)
        yield _text(0, 0, self.y_label, transform=f"translate(18 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)")
        step, top = self._step(), max(y for _, y in self.points)
        for line in range(math.ceil(top / step) + 1):
            height = self._y(line * step)
            yield f'<path d="M{LEFT} {height:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
            yield _text(LEFT - 8, height + 4, f"{line * step:,.0f}", anchor="end")
        for x, _ in self.points:
            yield _text(self._x(x), HEIGHT - BOTTOM + 20, f"{x:,.0f}")

    def _line(self) -> Iterator[str]:
        places = [(self._x(x), self._y(y)) for x, y in self.points]
        way = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        yield f'<path d="M{way}" fill="none" stroke="#1f6feb" stroke-width="2"/>'
        for (x, y), (_, value) in zip(places, self.points, strict=True):
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#1f6feb"/>'
            yield _text(x, y - 10, f"{value:,.0f}")

    def _step(self) -> float:
        """Between two lines of the vertical axis, so that there are about five."""
        least = max(y for _, y in self.points) / 5
        power: float = 10.0 ** math.floor(math.log10(least))
        return next(step * power for step in STEPS if step * power >= least)

    def _x(self, value: float) -> float:
        first, last = math.log10(self.points[0][0]), math.log10(self.points[-1][0])
        return LEFT + 40 + (WIDTH - RIGHT - LEFT - 80) * (math.log10(value) - first) / (last - first)

    def _y(self, value: float) -> float:
        step = self._step()
        top = step * math.ceil(max(y for _, y in self.points) / step)
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / top


def _text(x: float, y: float, words: str, *, anchor: str = "middle", size: int = 13, transform: str = "") -> str:
    where = f'transform="{transform}"' if transform else f'x="{x:.1f}" y="{y:.1f}"'
    return f'<text {where} text-anchor="{anchor}" font-size="{size}" fill="#333">{escape(words)}</text>'
