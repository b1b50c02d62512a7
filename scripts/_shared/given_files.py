"""The user's own files for labels and comparisons, looked at before anything runs."""

from pathlib import Path

from _shared.celltypist_model import check_model
from _shared.gene_sets import checked_digests, read_gmt
from _shared.logs import UserError
from _shared.network_file import read_network

# where the config names a single file
SINGLE = (
    ("annotate_clusters", "reference"),
    ("annotate_clusters", "aliases"),
    ("compare_bulk", "table"),
    ("export_cellxgene", "genes"),
    ("find_clones", "gene_positions"),
)


def check_optional(config: dict, *, has_reads: bool) -> None:
    """Raise `UserError` where an analysis lacks what it needs, or asks for nothing."""
    order, clones = config["order_cells"], config["find_clones"]
    if order["root"] and order["root_gene"]:
        raise UserError(
            "config: order_cells: give either root (a cell type or a cluster) or "
            "root_gene, from which cells are ordered."
        )
    sets = config["test_gene_sets"]
    if sets["min_genes"] > sets["max_genes"]:
        raise UserError(
            f"config: test_gene_sets: min_genes ({sets['min_genes']}) is above "
            f"max_genes ({sets['max_genes']}), so no set would be tested; swap them."
        )
    counted = config["count_reads"]["soloFeatures"]
    if config["infer_velocity"]["mode"] and "Velocyto" not in counted:
        raise UserError(
            "config: infer_velocity: mode needs Velocyto in count_reads: soloFeatures; "
            "add it."
        )
    if config["infer_velocity"]["mode"] and not has_reads:
        raise UserError(
            "config: infer_velocity: mode needs samples that enter as reads; samples "
            "that enter with counts have no unspliced ones."
        )
    if clones["reference_types"] and not clones["gene_positions"] and not has_reads:
        raise UserError(
            "config: find_clones: gene_positions: without samples with reads there is "
            "no annotation; give a table of gene_id, chromosome and start."
        )


def check_given(config: dict, *, shipped: Path) -> list[str]:
    """Return the marker tables to use; all files that are named are there and sound.

    Parameters
    ----------
    shipped
        Folder of the marker tables that come along, which may be named without path.

    Raises
    ------
    UserError
        For the first file that is missing, broken, or not what its checksum says.
    """
    for section, key in SINGLE:
        path = config[section][key]
        if path and not Path(path).is_file():
            raise UserError(
                f"config: {section}: {key}: no such file: {path}; mend the path (it is "
                "relative to the working folder)."
            )
    check_model(config["run_celltypist"])
    for section, key, read in (
        ("test_gene_sets", "gene_sets", read_gmt),
        ("infer_activities", "networks", read_network),
    ):
        paths = config[section][key]
        checked_digests(paths, config[section]["checksums"], section=section)
        for path in paths.values():
            read(Path(path))
    markers, aliases = (config["annotate_clusters"][k] for k in ("markers", "aliases"))
    if not markers and not aliases:
        return []
    # pandas takes half a second to import, and a run may do without labels
    from _shared.consensus import read_aliases
    from _shared.marker_table import marker_paths, read_markers

    if aliases:
        read_aliases(Path(aliases))
    found = marker_paths(markers, shipped=shipped)
    if found:
        read_markers(*map(Path, found))
    return found
