"""The page that tells what changed since an earlier run, and its part in the report."""

from pathlib import Path

import jinja2
from markupsafe import Markup

from _shared.alluvial import alluvial
from _shared.report_tables import bidi_shown, shown

TEMPLATES = Path(__file__).parent


def with_drawings(comparison: dict) -> dict:
    """Return a comparison with the flows of clusters and of labels drawn.

    What the macro `changes` of comparison.html.j2 takes.
    """
    drawn = dict(comparison)
    for name in ("clusters", "labels"):
        if comparison[name] is not None:
            drawing = alluvial(
                comparison[name]["flows"],
                f"Flow of cells between {name} before and now; the numbers are in "
                f"{name}.tsv",
            )
            drawn[name] = {**comparison[name], "drawing": drawing}
    return drawn


def comparison_page(comparison: dict, title: str) -> str:
    """Return the page; it needs no network and no script."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    style = (TEMPLATES / "page" / "style.css").read_text(encoding="utf-8")
    page = environment.get_template("comparison_page.html.j2").render(
        c=with_drawings(comparison), title=title, style=Markup(style)
    )
    return bidi_shown(page.lstrip())
