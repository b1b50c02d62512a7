"""Figures as files for print: paper colors, column widths, text that stays text."""

import inspect
import io
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb, to_rgba
from matplotlib.figure import Figure

from _shared.svg import GRID, INK, MUTED, STYLE, SURFACE

COLORS = {INK: "#000000", MUTED: "#333333", GRID: "#d0d0d0", SURFACE: "#ffffff"}
# what the page has in points; the other lengths of matplotlib are its defaults
SIZES = [name for name, value in STYLE.items() if name.endswith("size")]
LENGTHS = ["axes.labelpad", "axes.titlepad"]
LENGTHS += [
    f"{axis}.{part}"
    for axis in ("xtick", "ytick")
    for part in ("major.size", "minor.size", "major.pad", "minor.pad")
]
LENGTHS += ["figure.constrained_layout.h_pad", "figure.constrained_layout.w_pad"]
# how much narrower than on the page a figure may get: to fit the narrow column, and
# before it takes more room than the wide one
MOST_NARROWED, MOST_SQUEEZED = 1.45, 1.6
# more cells, or genes, than this are pixels inside the vector file
MOST_VECTOR_CELLS = 20_000
MOST_VECTOR_GENES = 5_000
MOST_NAME = 40
MM_PER_INCH = 25.4
# what XML cannot hold
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


@dataclass(frozen=True, kw_only=True)
class FigureSettings:
    """The `draw_figures` section of the config; widths in mm, font size in points."""

    formats: list[str]
    single_column_mm: float
    double_column_mm: float
    font_size: float
    dpi: int

    @property
    def scale(self) -> float:
        """Size of everything, beside that on the page."""
        return self.font_size / STYLE["font.size"]


def paper_style(settings: FigureSettings) -> dict:
    """Return the style of the page in the colors and sizes of print."""
    style = {
        name: COLORS.get(value, value) if isinstance(value, str) else value
        for name, value in STYLE.items()
    }
    style |= {name: STYLE[name] * settings.scale for name in SIZES}
    style |= {name: mpl.rcParamsDefault[name] * settings.scale for name in LENGTHS}
    # frame and ticks are lines to read off, not decoration
    style |= {"axes.edgecolor": COLORS[MUTED], "ytick.color": COLORS[MUTED]}
    return style | {
        "xtick.color": COLORS[MUTED],
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        # the next font where this one is not installed
        "font.family": ["DejaVu Sans", "sans-serif"],
        "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
        "pdf.fonttype": 42,
    }


def on_paper(
    draw: Callable[..., Figure],
    *args,
    settings: FigureSettings,
    most_points: int = MOST_VECTOR_CELLS,
    **kwargs,
) -> Figure:
    """Draw a figure of the report as wide as a column of a journal.

    One that has no room even in the wide column gets wider, so that it stays legible.

    Parameters
    ----------
    draw
        Function under `styled`; called with the further arguments.
    most_points
        Point clouds of more are pixels.
    """
    scale = settings.scale
    with mpl.rc_context(paper_style(settings)):
        # not the style of the page that `styled` would set
        figure = inspect.unwrap(draw)(*args, **kwargs)
        width, height = scale * figure.get_size_inches()
        mm = width * MM_PER_INCH
        single, double = settings.single_column_mm, settings.double_column_mm
        column = single if mm <= MOST_NARROWED * single else double
        wanted = max(column, mm / MOST_SQUEEZED) / MM_PER_INCH
        squeezed = min(1.0, wanted / width)
        figure.set_size_inches(wanted, height)
        for axes in figure.axes:
            to_paper(axes, scale=scale, squeezed=squeezed, most_points=most_points)
        for legend in figure.legends:
            scale_handles(legend.legend_handles, scale=scale, squeezed=squeezed)
    return figure


def paper_color(color: object) -> object:
    """Return a color, one of the page's placeholders as that of print."""
    if isinstance(color, str) and color in ("none", "auto"):
        return color
    found = COLORS.get(to_hex(color))
    return color if found is None else (*to_rgb(found), to_rgba(color)[3])


def to_paper(axes: Axes, *, scale: float, squeezed: float, most_points: int) -> None:
    """Give what lies in axes the colors and sizes of print."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_tick_params(
            which="both",
            labelcolor=COLORS[INK],
            grid_color=COLORS[GRID],
            grid_linewidth=0.5 * scale,
        )
    for spine in axes.spines.values():
        spine.set_linewidth(STYLE["axes.linewidth"] * scale)
    for text in axes.texts:
        text.set_color(paper_color(text.get_color()))
        # beside a point, whose size changes as well
        if getattr(text, "anncoords", "") == "offset points":
            text.xyann = tuple(scale * squeezed * apart for apart in text.xyann)
        if text.get_bbox_patch() is not None:
            patch = text.get_bbox_patch()
            patch.set_facecolor(paper_color(patch.get_facecolor()))
        arrow = getattr(text, "arrow_patch", None)
        if arrow is not None:
            arrow.set_edgecolor(paper_color(arrow.get_edgecolor()))
            arrow.set_linewidth(arrow.get_linewidth() * scale)
    legend = axes.get_legend()
    handles = [] if legend is None else legend.legend_handles
    scale_handles(
        [*axes.lines, *axes.patches, *axes.collections, *handles],
        scale=scale,
        squeezed=squeezed,
    )
    for points in axes.collections:
        if points.get_offsets().shape[0] > 1 or points.get_rasterized():
            points.set_rasterized(len(points.get_offsets()) > most_points)


def scale_handles(artists: Iterable, *, scale: float, squeezed: float) -> None:
    """Give lines, patches and points the colors and sizes of print."""
    for artist in artists:
        if isinstance(artist, mpl.lines.Line2D):
            artist.set_color(paper_color(artist.get_color()))
            artist.set_markerfacecolor(paper_color(artist.get_markerfacecolor()))
            artist.set_markeredgecolor(paper_color(artist.get_markeredgecolor()))
            artist.set_markersize(artist.get_markersize() * scale)
            artist.set_markeredgewidth(artist.get_markeredgewidth() * scale)
            artist.set_linewidth(artist.get_linewidth() * scale)
        elif isinstance(artist, mpl.patches.Patch):
            artist.set_edgecolor(paper_color(artist.get_edgecolor()))
            artist.set_linewidth(artist.get_linewidth() * scale)
        elif isinstance(artist, mpl.collections.Collection):
            artist.set_linewidth(np.asarray(artist.get_linewidth()) * scale)
            if isinstance(artist, mpl.collections.PathCollection):
                artist.set_sizes(artist.get_sizes() * (scale * squeezed) ** 2)
            for part in (
                ("facecolor", "edgecolor") if artist.get_array() is None else ()
            ):
                colors = getattr(artist, f"get_{part}")()
                getattr(artist, f"set_{part}")(paper_colors(colors))


def paper_colors(colors: np.ndarray) -> np.ndarray:
    """Return colors (RGBA, a row each), placeholders as those of print."""
    colors = np.array(colors, dtype=float).reshape(-1, 4)
    for placeholder, color in COLORS.items():
        same = np.isclose(colors[:, :3], to_rgb(placeholder), atol=1e-4).all(axis=1)
        colors[same, :3] = to_rgb(color)
    return colors


def save(
    figure: Figure, stem: Path, *, title: str, settings: FigureSettings
) -> list[Path]:
    """Write a figure in every format, the same bytes whenever; return the files."""
    files = []
    for kind in settings.formats:
        path = stem.with_name(f"{stem.name}.{kind}")
        # a date would change the bytes; the title of PNG is Latin-1
        metadata = {
            "pdf": {"CreationDate": None, "Creator": None, "Title": title},
            "svg": {"Date": None, "Creator": None, "Title": title},
            "png": {"Software": None},
        }[kind]
        buffer = io.BytesIO()
        with mpl.rc_context(paper_style(settings)), warnings.catch_warnings():
            # in SVG the viewer has the glyphs that this font lacks
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            figure.savefig(buffer, format=kind, dpi=settings.dpi, metadata=metadata)
        written = buffer.getvalue()
        if kind == "svg":
            written = CONTROL.sub("\ufffd", written.decode()).encode()
        path.write_bytes(written)
        files.append(path)
    return files


def plain_name(text: str) -> str:
    """Return a text as a part of a file name: ASCII letters, digits, dot, dash, _."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    named = re.sub(r"[^A-Za-z0-9.-]+", "_", ascii_text)
    return named.strip("._-")[:MOST_NAME].strip("._-") or "unnamed"


class FileNames:
    """File names that differ from each other, also where case does not count."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def __call__(self, *parts: str) -> str:
        """Return a name made of words, numbered where another one is the same."""
        wanted = "_".join(map(plain_name, parts))
        name, n = wanted, 1
        while name.lower() in self.taken:
            n += 1
            name = f"{wanted}_{n}"
        self.taken.add(name.lower())
        return name
