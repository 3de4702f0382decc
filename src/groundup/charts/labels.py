"""Where the label of each point goes, so that none lies on another point or label.

Greedy, in the order given: each label takes the first free of eight sides of its point, and is left
out where none is free. Sizes are estimates for a plot as wide as a page; on a narrower one the
page's script hides what meets (`figure`).
"""

from __future__ import annotations

from collections.abc import Sequence

WIDTH = 880  # pixels of a plot in a page as wide as it gets
MARGINS = 120  # pixels of the height that axes and legend take
LETTER = 6.2  # pixels of a letter at 11 px, about
LINE = 13.0  # pixels of a line of text
SIDES = {  # side → where the label begins, in its own widths and heights from the point
    "top center": (-0.5, 1),
    "bottom center": (-0.5, -1),
    "middle right": (0, 0),
    "middle left": (-1, 0),
    "top right": (0, 1),
    "bottom right": (0, -1),
    "top left": (-1, 1),
    "bottom left": (-1, -1),
}

Box = tuple[float, float, float, float]  # left, bottom, right, top


def sides_of(
    names: Sequence[str],
    xs: Sequence[float],
    ys: Sequence[float],
    height: int,
    first: Sequence[bool],
    ends: tuple[tuple[float, float], tuple[float, float]],
    best: str = "top center",
) -> list[str | None]:
    """For each point the side its label fits on; None where there is no room.

    Args:
        names: the labels; an empty one needs no side.
        xs: places along the axis, of whatever unit is even on it (logarithms on a logarithmic one).
        ys: the same of the other axis.
        height: of the drawing, in CSS pixels.
        first: which labels choose first, and are written whatever is in the way.
        ends: of both axes.
        best: the side that is tried first.
    """
    if not names:
        return []
    across, up = ends
    points = list(zip(_pixels(xs, WIDTH, across), _pixels(ys, height - MARGINS, up), strict=True))
    taken: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    sides: list[str | None] = [None] * len(names)
    for i in sorted(range(len(names)), key=lambda i: (not first[i], i)):
        if not names[i]:
            continue
        others = taken[:i] + taken[i + 1 :]
        for side in (best, *SIDES):
            box = _box(names[i], points[i], side)
            if box[0] > -60 and box[2] < WIDTH and not any(_overlap(box, one) for one in others):
                sides[i] = side
                taken.append(box)
                break
        else:
            sides[i] = best if first[i] else None
    return sides


def _pixels(values: Sequence[float], length: float, ends: tuple[float, float]) -> list[float]:
    low, high = ends
    return [length * (value - low) / (high - low) for value in values]


def _box(name: str, point: tuple[float, float], side: str) -> Box:
    right, up = SIDES[side]
    width = LETTER * len(name) + 4
    gap = 0 if up else 8 if right == 0 else -8
    left = point[0] + right * width + gap
    bottom = point[1] - LINE / 2 + up * (LINE / 2 + 9)
    return left, bottom, left + width, bottom + LINE


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
