"""A flow of cells from earlier groups to present ones, as an SVG for a page."""

from collections.abc import Iterable

from markupsafe import Markup, escape

from _shared.palette import colors_of

WIDTH, HEIGHT, BAR = 640.0, 300.0, 12.0
# room of a name at either side
SIDE = 150.0
# a line of text; groups of a few cells get as much
LINE, GAP = 13.0, 5.0
# characters of a name that have room
MOST = 18
# share of the cells below which a ribbon could not be seen
LEAST = 0.001


def placed(sizes: dict[str, int]) -> dict[str, tuple[float, float]]:
    """Return top and height of every group, in order, with room for its name."""
    total = sum(sizes.values())
    found, y = {}, 0.0
    for name, n in sizes.items():
        height = HEIGHT * n / total
        slot = max(height, LINE)
        found[name] = (y + (slot - height) / 2, height)
        y += slot + GAP
    return found


def in_order(flows: list[tuple[str, str, int]], left: list[str]) -> list[str]:
    """Return the groups at the right, each as near as may be to where it comes from."""
    place = {name: i for i, name in enumerate(left)}
    weight: dict[str, int] = {}
    moment: dict[str, float] = {}
    for before, now, n in flows:
        weight[now] = weight.get(now, 0) + n
        moment[now] = moment.get(now, 0.0) + n * place[before]
    return sorted(weight, key=lambda name: (moment[name] / weight[name], name))


def _clipped(name: str) -> str:
    return name if len(name) <= MOST else name[: MOST - 1] + "…"


def _group(name: str, n: int, y: float, height: float, *, at_left: bool, color: str):
    x = SIDE if at_left else WIDTH - SIDE - BAR
    where = x - 6 if at_left else x + BAR + 6
    anchor = "end" if at_left else "start"
    label = _clipped(name)
    return Markup(
        '<g><title>{}: {:,} cells</title><rect x="{:.1f}" y="{:.2f}" width="{:.0f}" '
        'height="{:.2f}" fill="{}"/><text x="{:.1f}" y="{:.2f}" text-anchor="{}">{} '
        '<tspan fill="var(--muted)">{:,}</tspan></text></g>'
    ).format(
        name,
        n,
        x,
        y,
        BAR,
        max(height, 0.5),
        color,
        where,
        y + height / 2 + 4,
        anchor,
        label,
        n,
    )


def alluvial(rows: Iterable[dict], label: str) -> Markup:
    """Return the drawing of a flow.

    Parameters
    ----------
    rows
        `previous`, `now` and `n_cells`, in the order of the previous groups.
    label
        What a screen reader says of the drawing.
    """
    flows = [(str(r["previous"]), str(r["now"]), int(r["n_cells"])) for r in rows]
    before: dict[str, int] = {}
    for old, _, n in flows:
        before[old] = before.get(old, 0) + n
    right = in_order(flows, list(before))
    now = {name: sum(n for _, new, n in flows if new == name) for name in right}
    total = sum(before.values())
    sides = placed(before), placed(now)
    colors = dict(zip(before, colors_of(list(before)), strict=True))
    used = ({name: side[name][0] for name in side} for side in sides)
    left_y, right_y = used
    place = {name: i for i, name in enumerate(right)}
    ribbons = Markup("")
    for old, new, n in sorted(flows, key=lambda f: (left_y[f[0]], place[f[1]])):
        height = HEIGHT * n / total
        a, left_y[old] = left_y[old], left_y[old] + height
        # drawn from top to bottom at both sides
        b, right_y[new] = right_y[new], right_y[new] + height
        if n < LEAST * total:
            continue
        x, z = SIDE + BAR, WIDTH - SIDE - BAR
        middle = (x + z) / 2
        path = (
            f"M{x:.0f},{a:.2f}"
            f"C{middle:.0f},{a:.2f} {middle:.0f},{b:.2f} {z:.0f},{b:.2f}"
            f"V{b + height:.2f}C{middle:.0f},{b + height:.2f} {middle:.0f},"
            f"{a + height:.2f} {x:.0f},{a + height:.2f}Z"
        )
        ribbons += Markup(
            '<path d="{}" fill="{}"><title>{} → {}: {:,} cells</title></path>'
        ).format(path, colors[old], old, new, n)
    largest = {}
    for old, new, n in flows:
        if n > largest.get(new, ("", 0))[1]:
            largest[new] = (old, n)
    bars = Markup("").join(
        [
            *(
                _group(name, before[name], *sides[0][name], at_left=True, color=color)
                for name, color in colors.items()
            ),
            *(
                _group(
                    name,
                    now[name],
                    *sides[1][name],
                    at_left=False,
                    color=colors[largest[name][0]],
                )
                for name in right
            ),
        ]
    )
    bottom = max(y + max(h, LINE) for side in sides for y, h in side.values()) + 4
    return Markup(
        '<svg role="img" aria-label="{}" viewBox="0 -8 {:.0f} {:.0f}" width="{:.0f}" '
        'font-size="12" fill="var(--ink)"><g fill-opacity="0.45">{}</g>{}</svg>'
    ).format(escape(label), WIDTH, bottom + 12, WIDTH, ribbons, bars)
