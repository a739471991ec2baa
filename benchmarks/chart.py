"""The table as a picture: a bar for each system and operation, on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

_COLOURS = (
    "#1f6f8b", "#99a8b2", "#e07a5f", "#81b29a", "#f2cc8f", "#6d597a",
    "#b56576", "#355070", "#8d99ae", "#588157", "#bc6c25", "#3d405b",
)  # fmt: skip
_LEFT, _WIDTH, _BAR, _GAP, _TOP = 250, 900, 9, 14, 90
_LEAST, _MOST = 0.1, 100_000.0


def chart(title: str, systems: Sequence[str], rows: Mapping[str, Sequence[float | None]]) -> str:
    """Return an SVG picture of ratios: those of each row in the order of *systems*."""
    height = _TOP + sum(len(systems) * _BAR + _GAP for _ in rows) + 30
    size = f'width="{_WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="10" y="20" font-size="14">{escape(title)}</text>',
    ]
    for number, system in enumerate(systems):
        left, y = 10 + (number % 5) * 175, 38 + (number // 5) * 15
        box = f'<rect x="{left}" y="{y - 9}" width="10" height="10"'
        parts.append(f'{box} fill="{_colour(number)}"/>')
        parts.append(f'<text x="{left + 14}" y="{y}">{escape(system)}</text>')
    for power in range(-1, 6):
        x = _x(10.0**power)
        weight = 2 if power == 0 else 0.5
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 10}" y2="{height - 25}" '
            f'stroke="#888" stroke-width="{weight}"/>'
            f'<text x="{x:.1f}" y="{height - 10}" text-anchor="middle">{10.0**power:g}</text>'
        )
    y = _TOP
    for row, ratios in rows.items():
        middle = y + len(systems) * _BAR / 2 + 4
        parts.append(f'<text x="{_LEFT - 8}" y="{middle}" text-anchor="end">{escape(row)}</text>')
        for number, ratio in enumerate(ratios):
            if ratio is not None:
                parts.append(
                    f'<rect x="{_LEFT}" y="{y}" width="{max(1.0, _x(ratio) - _LEFT):.1f}" '
                    f'height="{_BAR - 1}" fill="{_colour(number)}"/>'
                    f'<text x="{_x(ratio) + 3:.1f}" y="{y + 8}" font-size="8">{ratio:.3g}</text>'
                )
            y += _BAR
        y += _GAP
    return "\n".join((*parts, "</svg>", ""))


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _x(ratio: float) -> float:
    ratio = min(max(ratio, _LEAST), _MOST)
    share = math.log10(ratio / _LEAST) / math.log10(_MOST / _LEAST)
    return _LEFT + share * (_WIDTH - _LEFT - 45)
