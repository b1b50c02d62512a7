import base64
import gzip
import json
import struct

import numpy as np
import pandas as pd
import pytest

from _shared.pack import packed


def unpacked(text: str) -> tuple[dict, dict]:
    """Read a pack as the page does: its meta, and the values of its tables."""
    raw = gzip.decompress(base64.b64decode(text))
    (length,) = struct.unpack_from("<I", raw)
    header = json.loads(raw[4 : 4 + length])
    start = -(-(4 + length) // 8) * 8
    tables = {}
    for name, table in header["tables"].items():
        tables[name] = columns = {}
        for column, place in table["columns"].items():
            assert place["offset"] % 8 == 0
            assert place["length"] == table["n"]
            values = np.frombuffer(
                raw, place["dtype"], place["length"], start + place["offset"]
            )
            if "categories" in place:
                missing = np.iinfo(values.dtype).max
                texts = [*place["categories"]]
                values = [None if code == missing else texts[code] for code in values]
            columns[column] = values
    return header, tables


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0, 255], "uint8"),
        ([-1, 127], "int8"),
        ([0, 256], "uint16"),
        ([-1, 128], "int16"),
        ([0, 2**32 - 1], "uint32"),
        ([-(2**31), 5], "int32"),
        ([0, 2**40], "float64"),
        ([True, False], "uint8"),
        ([0.5, np.nan], "float64"),
        (np.array([0.5, np.nan], np.float32), "float32"),
        (pd.array([1, None], "Int64"), "float64"),
        (pd.array([True, False], "boolean"), "uint8"),
    ],
)
def test_numbers_keep_their_values_in_the_smallest_type(values, dtype):
    table = pd.DataFrame({"x": values})

    header, tables = unpacked(packed({"t": table}))

    assert header["tables"]["t"]["columns"]["x"]["dtype"] == dtype
    expected = table["x"].to_numpy(float, na_value=np.nan)
    np.testing.assert_array_equal(tables["t"]["x"].astype(float), expected)


def test_floats_are_not_rounded():
    values = np.random.default_rng(1).normal(size=100) * 1e-300

    _, tables = unpacked(packed({"t": pd.DataFrame({"x": values})}))

    np.testing.assert_array_equal(tables["t"]["x"], values)


@pytest.mark.parametrize("dtype", [object, "category", "string"])
def test_text_comes_back_with_what_is_missing(dtype):
    values = ["b</script>", None, 'a\n"é', "b</script>"]

    _, tables = unpacked(
        packed({"t": pd.DataFrame({"x": pd.Series(values, dtype=dtype)})})
    )

    assert tables["t"]["x"] == values


def test_unused_categories_and_their_order_are_kept():
    column = pd.Categorical(["10", "2"], categories=["2", "10", "none"])

    header, tables = unpacked(packed({"t": pd.DataFrame({"x": column})}))

    assert header["tables"]["t"]["columns"]["x"]["categories"] == ["2", "10", "none"]
    assert tables["t"]["x"] == ["10", "2"]


@pytest.mark.parametrize("n", [254, 255, 256, 65535, 65536])
def test_no_category_is_taken_for_a_missing_one(n):
    values = [str(i) for i in range(n)] + [None]

    _, tables = unpacked(packed({"t": pd.DataFrame({"x": values})}))

    assert tables["t"]["x"] == values


def test_several_tables_and_meta_share_a_pack():
    tables = {
        "a": pd.DataFrame({"x": [1, 2, 3], "y": ["p", "q", None]}),
        "b": pd.DataFrame({"x": [0.25]}),
        "empty": pd.DataFrame({"x": np.zeros(0), "y": pd.Series(dtype=str)}),
    }

    header, back = unpacked(packed(tables, {"title": "Ünï"}))

    assert header["meta"] == {"title": "Ünï"}
    assert [table["n"] for table in header["tables"].values()] == [3, 1, 0]
    assert list(back["a"]["x"]) == [1, 2, 3]
    assert back["a"]["y"] == ["p", "q", None]
    assert list(back["b"]["x"]) == [0.25]
    assert len(back["empty"]["y"]) == 0


def test_the_same_tables_make_the_same_text():
    tables = {"a": pd.DataFrame({"x": [1, 2]})}

    assert packed(tables) == packed(tables)


def test_noise_comes_back_as_it_was_and_takes_less():
    values = np.random.default_rng(1).geometric(0.3, 50_000).astype(np.uint8)
    tables = {"a": pd.DataFrame({"x": values})}

    text = packed(tables, is_noise=True)

    np.testing.assert_array_equal(unpacked(text)[1]["a"]["x"], values)
    assert len(text) < len(packed(tables))
