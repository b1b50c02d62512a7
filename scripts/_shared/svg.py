"""Figures as inline SVG that takes fonts and colors from the page around it."""

import hashlib
import io
import re
import warnings
from collections.abc import Callable
from functools import wraps
from typing import NamedTuple

import matplotlib as mpl
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

# placeholders that become CSS variables, so that one figure suits light and dark
INK, MUTED, GRID, SURFACE = "#010203", "#040506", "#070809", "#0a0b0c"
VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--line)",
    SURFACE: "var(--surface)",
}
# more points than this are drawn as pixels inside the SVG
MOST_VECTOR_POINTS = 2_000
DPI = 160

STYLE = {
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "reads2cells",
    "text.color": INK,
    # a gene or sample name with two dollar signs is no formula
    "text.parse_math": False,
    "xtick.color": GRID,
    "xtick.labelcolor": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.color": GRID,
    "ytick.labelcolor": MUTED,
    "ytick.labelsize": 8.5,
}


class Drawn(NamedTuple):
    """A figure of the page: its name, its markup and the numbers behind it."""

    name: str
    svg: Markup
    numbers: pd.DataFrame


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Make a function draw in the style of the report."""

    @wraps(draw)
    def inner(*args, **kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return inner


def to_svg(figure: Figure, label: str) -> str:
    """Return a figure as an `<svg>` element without outside references.

    Parameters
    ----------
    figure
        Figure drawn by a function under `styled`.
    label
        Plain text that stands for the figure in a screen reader.
    """
    buffer = io.StringIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # the text stays text: the browser has the glyphs that this font lacks
        warnings.filterwarnings(
            "ignore", message="Glyph .* missing", category=UserWarning
        )
        figure.savefig(buffer, format="svg", dpi=DPI, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"| version="1.1"', "", text)
    text = text.replace("xlink:href=", "href=").replace("'DejaVu Sans'", "inherit")
    # many figures share the page: only ids that something refers to stay, each under a
    # name of its own, for a clip path in a closed part of the page clips to nothing
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", text)
    own = "f" + hashlib.sha256((label + text).encode()).hexdigest()[:8]
    text = re.sub(r'(url\(#|href="#| id=")', rf"\1{own}-", text)
    for placeholder, variable in VARIABLES.items():
        text = text.replace(placeholder, variable)
    text = re.sub(r"\n\s*", "\n", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{_quoted(label)}"', 1)


def svg(label: str, draw: Callable[..., Figure], /, *args, **kwargs) -> Markup:
    """Draw a figure and return it as markup for the page."""
    # the SVG has no text of users but what matplotlib and `to_svg` escaped
    return Markup(to_svg(draw(*args, **kwargs), label))


def picture(
    name: str,
    numbers: pd.DataFrame,
    label: str,
    draw: Callable[..., Figure],
    /,
    *args,
    **kwargs,
) -> Drawn:
    """Draw a figure that the page offers as a file, with its numbers."""
    return Drawn(name, svg(label, draw, *args, **kwargs), numbers)


def _quoted(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
