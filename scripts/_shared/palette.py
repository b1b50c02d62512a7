"""Colors that stay distinguishable with color-vision deficiency."""

from collections.abc import Sequence

# Petroff's accessible sequence (2021), then Tol's muted scheme, without near-blacks
CATEGORIES = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#832db6",
    "#2a9d8f",
    "#e76300",
    "#92dadd",
    "#a96b59",
    "#b9ac70",
    "#717581",
    "#cc6677",
    "#5b58c9",
    "#7fb800",
    "#aa4499",
    "#88ccee",
    "#999933",
    "#d98cc1",
    "#117733",
    "#f2d06b",
    "#6d8fb3",
)
UNKNOWN = "#a0a4ab"
UP, DOWN, NEUTRAL = "#e76300", "#3f90da", "#a0a4ab"


def _paler(color: str, share: float) -> str:
    channels = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(c + (255 - c) * share):02x}" for c in channels)


def colors_of(names: Sequence[str]) -> list[str]:
    """Return a color per category; "unknown" is gray, past 20 the colors get paler."""
    return [
        UNKNOWN
        if name == "unknown"
        else _paler(
            CATEGORIES[i % len(CATEGORIES)], 0.4 * (i // len(CATEGORIES) % 3) / 2
        )
        for i, name in enumerate(names)
    ]
