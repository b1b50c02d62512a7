"""Write the long tables and the table of cells as Parquet, beside their text.

Every column has a type of its own, whatever its values: names that look like numbers
stay text, and a table without rows has the same types as a full one.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import pandas as pd
import pyarrow as pa
from pyarrow import csv, parquet

from _shared.jobs import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("export_tables")

TEXT = (
    "cell_type",
    "cluster",
    "collection",
    "contrast",
    "evidence",
    "gene_id",
    "gene_name",
    "gene_set",
    "leading_edge",
    "nearest",
)
WHOLE = ("n_genes", "nearest_rank", "rank")
NUMBERS = (
    "auc",
    "base_mean",
    "ci_high",
    "ci_low",
    "es",
    "lfc_se",
    "log2_fold_change",
    "log2_fold_change_shrunken",
    "log2_ratio",
    "log2_ratio_se",
    "nearest_auc",
    "nearest_log2_fold_change",
    "nearest_score",
    "nes",
    "p_value",
    "padj",
    "pct_in",
    "pct_out",
    "score",
    "share_reference",
    "share_tested",
    "statistic",
)
TYPES = (
    dict.fromkeys(TEXT, pa.string())
    | dict.fromkeys(WHOLE, pa.int64())
    | dict.fromkeys(NUMBERS, pa.float64())
)
# rows of the table of cells that are turned at a time
ROWS = 100_000


def table_schema(path: Path) -> pa.Schema:
    """Return the columns of a text table with their types.

    Raises
    ------
    ValueError
        If a column is none of those above.
    """
    with path.open() as lines:
        names = lines.readline().rstrip("\n").split("\t")
    if unknown := [name for name in names if name not in TYPES]:
        raise ValueError(f"{path}: no type is known of the columns {unknown}")
    return pa.schema([(name, TYPES[name]) for name in names])


def text_batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a text table in pieces; an empty number is missing."""
    with path.open("rb") as file:
        file.readline()
        # a reader of batches refuses a table without rows
        if not file.read(1):
            return
    reader = csv.open_csv(
        path,
        parse_options=csv.ParseOptions(delimiter="\t", newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=schema, null_values=[""], strings_can_be_null=False
        ),
    )
    yield from reader


def cell_batches(obs: pd.DataFrame, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the table of cells in pieces."""
    for start in range(0, len(obs), ROWS):
        part = obs.iloc[start : start + ROWS].reset_index(names="cell")
        yield pa.RecordBatch.from_pandas(part, schema=schema, preserve_index=False)


def cell_schema(obs: pd.DataFrame) -> pa.Schema:
    """Return the columns of the table of cells: names and labels are text."""
    fields = [("cell", pa.string())]
    for name, column in obs.items():
        is_number = pd.api.types.is_numeric_dtype(column.dtype)
        kind = pa.from_numpy_dtype(column.dtype) if is_number else pa.string()
        fields.append((name, kind))
    return pa.schema(fields)


def write_parquet(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, path: Path
) -> int:
    """Write batches and return the number of their rows."""
    n_rows = 0
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            n_rows += batch.num_rows
    return n_rows


def main(*, tables: dict[str, Path], cells: Path, exported: dict[str, Path]) -> None:
    """Write `exported[name]` of every table, and `exported["cells"]` of the object."""
    for name, path in tables.items():
        schema = table_schema(path)
        n_rows = write_parquet(text_batches(path, schema), schema, exported[name])
        logger.info("%s: %d rows, %d columns", name, n_rows, len(schema))
    with h5py.File(cells) as file:
        obs = ad.io.read_elem(file["obs"])
    schema = cell_schema(obs)
    n_rows = write_parquet(cell_batches(obs, schema), schema, exported["cells"])
    logger.info("cells: %d rows, %d columns", n_rows, len(schema))


if "snakemake" in globals():
    with job(snakemake):
        main(
            tables={
                name: Path(path)
                for name, path in snakemake.input.items()
                if name != "cells"
            },
            cells=Path(snakemake.input.cells),
            exported={name: Path(path) for name, path in snakemake.output.items()},
        )
