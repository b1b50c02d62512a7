"""Tables for the report's page: typed columns in one compressed text."""

import base64
import json
import struct
import zlib

import numpy as np
import pandas as pd

# a typed array of the page begins at a multiple of its item's size
ALIGNMENT = 8
INTEGERS = tuple(map(np.dtype, ("u1", "i1", "u2", "i2", "u4", "i4")))


def packed(
    tables: dict[str, pd.DataFrame], meta: dict | None = None, *, is_noise: bool = False
) -> str:
    """Return tables as base64 of gzip, which `R2C.unpack` of the page reads.

    Inside: the header's length (uint32, little endian), the header (JSON), the values
    of all columns; the header and the values of each column end at a multiple of 8.
    The same tables make the same text. `is_noise`: nothing but runs of a byte repeats,
    so no other match is looked for, which is quicker and makes the text smaller.
    """
    described, buffers, end = {}, [], 0
    for name, table in tables.items():
        columns = {}
        for column in table.columns:
            values, entry = _encoded(table[column])
            raw = _padded(values.tobytes())
            place = {"dtype": values.dtype.name, "offset": end, "length": len(values)}
            columns[str(column)] = place | entry
            buffers.append(raw)
            end += len(raw)
        described[name] = {"n": len(table), "columns": columns}
    header = {"meta": meta or {}, "tables": described}
    text = json.dumps(header, allow_nan=False, separators=(",", ":")).encode()
    start = _padded(struct.pack("<I", len(text)) + text)
    strategy = zlib.Z_RLE if is_noise else zlib.Z_DEFAULT_STRATEGY
    # a window of 2^15 bytes, 16 more for the form of gzip, most memory
    squeeze = zlib.compressobj(6, zlib.DEFLATED, 15 + 16, 9, strategy)
    parts = [squeeze.compress(raw) for raw in (start, *buffers)]
    return base64.b64encode(b"".join([*parts, squeeze.flush()])).decode()


def _padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % ALIGNMENT)


def _encoded(column: pd.Series) -> tuple[np.ndarray, dict]:
    """Return a column's values, little endian, and what its header adds."""
    kind = column.dtype
    if pd.api.types.is_bool_dtype(kind) and not column.hasnans:
        return column.to_numpy(np.uint8), {}
    if pd.api.types.is_integer_dtype(kind) and not column.hasnans:
        return _smallest(column.to_numpy()), {}
    if pd.api.types.is_float_dtype(kind) or pd.api.types.is_integer_dtype(kind):
        wanted = "<f4" if kind == np.float32 else "<f8"
        return column.to_numpy(wanted, na_value=np.nan), {}
    return _codes(column)


def _smallest(values: np.ndarray) -> np.ndarray:
    """Return integers in the smallest type that holds them, else as float64."""
    low, high = (values.min(), values.max()) if len(values) else (0, 0)
    for dtype in INTEGERS:
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return values.astype(dtype.newbyteorder("<"))
    return values.astype("<f8")


def _codes(column: pd.Series) -> tuple[np.ndarray, dict]:
    """Return the number of each value's category; the largest number is a missing one.

    Categories keep their order; those of plain text stand in order of appearance.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, categories = column.cat.codes.to_numpy(), column.cat.categories
    else:
        codes, categories = pd.factorize(column)
    dtype = next(
        dtype for dtype in INTEGERS[::2] if len(categories) <= np.iinfo(dtype).max
    )
    # -1, "missing", turns into the type's largest number
    values = codes.astype(dtype.newbyteorder("<"))
    return values, {"categories": [str(category) for category in categories]}
