"""Planted swaps are found, and samples that are what they say raise no warning."""

import json
from itertools import product

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from _shared.swaps import (
    COLUMNS,
    Sample,
    SwapSettings,
    sex_genes,
    share_by_chance,
    shared_barcodes,
    species_of_genes,
)
from check_swaps import bare_barcodes, list_lengths, main
from simulated_counts import Plan, make_profiles, simulate_sample

SETTINGS = SwapSettings(
    max_percent_shared=20,
    min_percent_of_sex=80,
    n_mads_distance=5,
    max_percent_other_species=5,
    min_cells=20,
)
PLAN = Plan(n_genes=1500, n_types=4, n_batches=8, rare_shares=(0.02,), batch_effect=0.1)
PLAN_GENES = [f"G{n:05d}" for n in range(PLAN.n_genes)]
SIX = [f"s{n}" for n in range(6)]
# genes that the simulation leaves to the sexes
XIST, Y = 20, (21, 22)


def barcodes(rng, n: int) -> list[str]:
    """Return distinct random barcodes of 16 bases."""
    drawn = rng.choice(4**12, n, replace=False)
    digits = drawn[:, None] // 4 ** np.arange(12) % 4
    return ["ACGT" + "".join("ACGT"[d] for d in row) for row in digits]


def simulated(
    name: str,
    *,
    batch: int = 0,
    n_cells: int = 150,
    sex: str = "female",
    seed: int = 1,
    plan: Plan = PLAN,
) -> ad.AnnData:
    """Return a sample with barcodes of DNA and the genes of a sex."""
    profiles = make_profiles(plan, seed=seed)
    adata = simulate_sample(
        plan, profiles, sample=name, batch=batch, n_cells=n_cells, seed=5
    )
    rng = np.random.default_rng([7, batch, seed])
    counts = adata.X.tolil()
    on, off = ([XIST], Y) if sex == "female" else (Y, [XIST])
    for gene, rate in [*product(on, [0.7]), *product(off, [0.02])]:
        counts[:, gene] = rng.poisson(rate, n_cells)[:, None]
    var = adata.var.copy()
    var["gene_name"] = var["gene_name"].astype(object)
    for gene, symbol in zip((XIST, *Y), ("XIST", "RPS4Y1", "DDX3Y"), strict=True):
        var.iloc[gene, var.columns.get_loc("gene_name")] = symbol
    names = [f"{barcode}-{name}" for barcode in barcodes(rng, n_cells)]
    obs = adata.obs[["sample"]].set_axis(pd.Index(names, name="barcode"))
    return ad.AnnData(counts.tocsr(), obs=obs, var=var)


def six(**changes) -> dict[str, ad.AnnData]:
    """Return six good samples, every other one male."""
    return {
        name: simulated(name, batch=n, sex=("female", "male")[n % 2])
        for n, name in enumerate(SIX)
    } | changes


def sheet_of(names) -> dict[str, dict[str, str]]:
    return {
        name: {"condition": ("ctrl", "stim")[n // 3 % 2], "sex": "FM"[n % 2]}
        for n, name in enumerate(names)
    }


@pytest.fixture
def check(tmp_path):
    """Run the script on samples in memory; return table and evidence."""

    def run(samples, sheet=None, settings=SETTINGS):
        called = {}
        for name, adata in samples.items():
            called[name] = tmp_path / f"{name}.h5ad"
            adata.write_h5ad(called[name])
        main(
            called=called,
            sheet=sheet or {name: {} for name in samples},
            reads_table=None,
            list_sizes={},
            swaps=tmp_path / "swaps.tsv",
            evidence=tmp_path / "swaps.json",
            settings=settings,
        )
        table = pd.read_csv(tmp_path / "swaps.tsv", sep="\t", keep_default_na=False)
        assert list(table) == list(COLUMNS)
        return table, json.loads((tmp_path / "swaps.json").read_text())

    return run


def warned(table: pd.DataFrame, check: str | None = None) -> set[tuple[str, str]]:
    rows = table[table["status"] == "warn"]
    rows = rows if check is None else rows[rows["check"] == check]
    return set(zip(rows["sample"], rows["other"], strict=True))


def test_samples_that_are_what_they_say_raise_no_warning(check):
    table, evidence = check(six(), sheet_of(SIX))
    assert not warned(table)
    assert evidence["n_warnings"] == 0
    counts = table["check"].value_counts().to_dict()
    assert counts == {"shared_barcodes": 15, "sex_genes": 6, "expression_distance": 6}
    assert {s["sex_found"] for s in evidence["samples"]} == {"female", "male"}


def test_a_sample_given_twice_under_two_names_is_found(check):
    twin = six()["s1"]
    twin.obs_names = twin.obs_names.str.replace("-s1", "-s4")
    table, _ = check(six(s4=twin))
    assert warned(table, "shared_barcodes") == {("s1", "s4")}
    assert table["status"].iloc[0] == "warn", "warnings come first"
    assert "one sample under two names" in table["meaning"].iloc[0]


@pytest.mark.parametrize(("share", "found"), [(0.1, False), (0.3, True)])
def test_shared_barcodes_are_found_above_the_limit(check, share, found):
    samples = six()
    n = int(share * samples["s2"].n_obs)
    names = samples["s5"].obs_names.to_numpy(dtype=object).copy()
    names[:n] = samples["s2"].obs_names[:n].str.replace("-s2", "-s5")
    samples["s5"].obs_names = names
    table, _ = check(samples)
    assert warned(table) == ({("s2", "s5")} if found else set())
    pair = table[(table["sample"] == "s2") & (table["other"] == "s5")].iloc[0]
    assert pair["value"] == pytest.approx(100 * share)
    assert not found or "do not go together" in pair["meaning"]


def bare(name: str, totals: np.ndarray, codes: list[str]) -> Sample:
    return Sample(
        name=name, barcodes=pd.Index(codes), totals=totals, parts=pd.DataFrame()
    )


def test_hopped_reads_are_told_from_barcodes_of_one_chip():
    rng = np.random.default_rng(0)
    codes = barcodes(rng, 900)
    totals = rng.lognormal(8, 0.8, 500)
    hopped = (0.1 * totals[:200] * rng.lognormal(0, 0.2, 200)).round()
    two = bare(
        "b", np.r_[hopped, rng.lognormal(8, 0.8, 300)], codes[:200] + codes[600:]
    )
    rows, _ = shared_barcodes(
        [bare("a", totals, codes[:500]), two], SETTINGS, n_listed={}
    )
    assert rows[0]["value"] == 40
    assert "Look at the sample indices" in rows[0]["meaning"]


def test_a_short_list_is_shared_by_chance():
    rng = np.random.default_rng(0)
    codes = np.array(barcodes(rng, 1000))
    one, two = (
        bare(name, np.ones(400), list(rng.choice(codes, 400, replace=False)))
        for name in "ab"
    )
    rows, _ = shared_barcodes([one, two], SETTINGS, n_listed={"a": 1000, "b": 1000})
    assert rows[0]["value"] == pytest.approx(40, abs=6)
    assert rows[0]["limit"] == 80
    assert rows[0]["status"] == "pass"
    rows, _ = shared_barcodes([one, two], SETTINGS, n_listed={})
    assert rows[0]["status"] == "warn"


def test_wells_are_no_barcodes_of_a_long_list():
    wells = [f"{row}{n}" for row in "ABCDEFGH" for n in range(1, 13)]
    plates = [bare(name, np.ones(96), wells) for name in "ab"]
    rows, skipped = shared_barcodes(plates, SETTINGS, n_listed={})
    assert rows == []
    assert [s["sample"] for s in skipped] == ["a", "b"]


@pytest.mark.parametrize(
    ("n", "listed", "share"), [(100, 1000, 0.1), (5, None, 0), (200, 96, 1)]
)
def test_chance_is_the_share_of_the_list(n, listed, share):
    assert share_by_chance(n, listed) == share


def test_the_length_of_a_list_is_that_of_all_its_parts(tmp_path):
    path = tmp_path / "reads.tsv"
    path.write_text("sample\twhitelists\nx\ta,b\ny\t\nz\ta,nowhere\nw\tc\n")
    assert list_lengths(path, {"a": 96, "b": 10, "c": None}) == {"x": 960}
    assert list_lengths(None, {"a": 96}) == {}


def test_names_of_cells_are_stripped_to_their_barcodes():
    names = pd.Index(["ACGT-2-a.b", "ACGA-a.b", "A-a.b-a.b"])
    assert list(bare_barcodes(names, "a.b")) == ["ACGT", "ACGA", "A-a.b"]
    joined = pd.Index(["ACGT-1-a", "ACGT-2-a"])
    assert list(bare_barcodes(joined, "a")) == ["ACGT-1", "ACGT-2"]


def test_swapped_sexes_are_found_and_name_each_other(check):
    samples = six(s0=simulated("s0", batch=0, sex="male"), s3=simulated("s3", batch=3))
    table, evidence = check(samples, sheet_of(SIX))
    assert warned(table) == {("s0", "s3"), ("s3", "s0")}
    assert "they may be swapped" in table["meaning"].iloc[0]
    assert evidence["samples"][0]["sex_declared"] == "female"
    assert evidence["samples"][0]["sex_found"] == "male"


def test_a_sex_that_nobody_declared_is_told_and_not_judged(check):
    table, _ = check(six(), {name: {"sex": "unknown"} for name in SIX})
    assert not warned(table)
    assert table[table["check"] == "sex_genes"]["value"].iloc[0] > 90


def test_two_donors_in_one_library_are_told(check):
    half = simulated("s0", batch=0)
    other = simulated("s0", batch=6, sex="male")
    mixed = ad.concat([half[:75], other[75:]], merge="same")
    table, _ = check(six(s0=mixed), sheet_of(SIX))
    assert warned(table, "sex_genes") == {("s0", "")}
    assert "two donors" in table["meaning"].iloc[0]


def test_samples_of_a_donor_have_one_sex(check):
    sheet = {name: {"donor": f"d{n // 2}"} for n, name in enumerate(SIX)}
    table, _ = check(six(), sheet)
    assert warned(table) == {("s0", "s1"), ("s2", "s3"), ("s4", "s5")}
    assert set(table[table["status"] == "warn"]["check"]) == {"donor_sex"}


VAR = pd.DataFrame(
    {
        "gene_name": ["Xist", "Ddx3y", "Actb", "PLCXD1", "PLCXD1"],
        "chromosome": ["chrX", "chrY", "chr5", "chrX", "chrY"],
    },
    index=["ENSMUSG00000086503", "g2", "g3", "g4", "g5"],
)


@pytest.mark.parametrize(
    ("change", "xist", "y"),
    [
        ({}, [0], [1]),
        # by contig, without what both sex chromosomes have
        ({"gene_name": ["Xist", "Own1", "Actb", "PLCXD1", "PLCXD1"]}, [0], [1]),
        ({"gene_name": list(VAR.index), "chromosome": "1"}, [0], []),
        ({"gene_name": "mm10___" + VAR["gene_name"], "chromosome": "1"}, [0], [1]),
    ],
)
def test_sex_genes_are_found_by_name_id_or_contig(change, xist, y):
    found = sex_genes(VAR.assign(**change))
    assert [np.flatnonzero(f).tolist() for f in found] == [xist, y]


def test_a_foreign_sample_among_six_is_found_and_it_alone(check):
    foreign = simulated("s4", batch=4, seed=2)
    table, _ = check(six(s4=foreign), sheet_of(SIX))
    assert {sample for sample, _ in warned(table, "expression_distance")} == {"s4"}
    row = table[(table["check"] == "expression_distance") & (table["sample"] == "s4")]
    assert row["value"].iloc[0] > 2 * row["limit"].iloc[0]


def test_a_shallow_sample_is_no_foreign_one(check):
    table, _ = check(six(s4=simulated("s4", batch=4, n_cells=25)), sheet_of(SIX))
    assert not warned(table, "expression_distance")


def donors_sheet(order) -> dict[str, dict[str, str]]:
    """Two conditions of four donors; `order` names the donors of the second."""
    donors = [*range(4), *order]
    return {
        f"s{n}": {"condition": ("ctrl", "stim")[n // 4], "donor": f"d{donor}"}
        for n, donor in enumerate(donors)
    }


@pytest.fixture(scope="module")
def paired():
    """Four donors in two conditions, each donor with expression of its own."""
    rng = np.random.default_rng(3)
    base, stim = rng.normal(3, 1.5, 800), rng.normal(0, 0.6, 800)
    own = rng.normal(0, 0.3, (4, 800))
    samples = {}
    for n in range(8):
        rate = np.exp(base + stim * (n // 4) + own[n % 4])
        rate *= 2000 / rate.sum()
        counts = sparse.csr_matrix(rng.poisson(rate, (120, 800)).astype(np.int32))
        obs = pd.DataFrame(index=[f"{b}-s{n}" for b in barcodes(rng, 120)])
        var = pd.DataFrame({"gene_name": PLAN_GENES[:800], "is_mito": False})
        var.index = PLAN_GENES[:800]
        samples[f"s{n}"] = ad.AnnData(counts, obs=obs, var=var)
    return samples


def test_samples_of_a_donor_find_each_other(check, paired):
    table, _ = check(paired, donors_sheet([0, 1, 2, 3]))
    assert not warned(table)
    assert (table["check"] == "same_donor").sum() == 4


def test_donors_swapped_in_one_condition_are_found(check, paired):
    table, _ = check(paired, donors_sheet([0, 2, 1, 3]))
    assert warned(table) == {("s1", "s6"), ("s2", "s5")}
    assert "s1 is more like s5 (donor d2)" in table["meaning"].iloc[0]


def two_species(name: str, human: float, batch: int) -> ad.AnnData:
    adata = simulated(name, batch=batch)
    n = adata.n_vars // 2
    share = np.repeat([human, 1 - human], [n, adata.n_vars - n])
    rng = np.random.default_rng(batch)
    counts = rng.poisson(4 * share, adata.shape).astype(np.int32)
    adata.var["species"] = np.repeat(["human", "mouse"], [n, adata.n_vars - n])
    return ad.AnnData(sparse.csr_matrix(counts), obs=adata.obs, var=adata.var)


@pytest.mark.parametrize(
    ("shares", "found"),
    [
        ([1, 0.99, 0.98, 0.02], {"s3"}),
        ([1, 0.99, 0.98, 0.85], {"s3"}),
        ([0.5, 0.6, 0.4, 0.5], set()),
        ([1, 0.99, 0.98, 0.97], set()),
    ],
)
def test_a_sample_of_another_species_is_found(check, shares, found):
    samples = {f"s{n}": two_species(f"s{n}", h, n) for n, h in enumerate(shares)}
    table, _ = check(samples)
    assert {sample for sample, _ in warned(table, "species_mix")} == found


def test_the_sheet_says_which_species_is_meant(check):
    samples = {f"s{n}": two_species(f"s{n}", h, n) for n, h in enumerate([1, 0.01])}
    sheet = {"s0": {"species": "Human"}, "s1": {"species": "mouse"}}
    assert not warned(check(samples, sheet)[0], "species_mix")
    sheet["s1"] = {"species": "human"}
    assert warned(check(samples, sheet)[0], "species_mix") == {("s1", "")}


@pytest.mark.parametrize(
    ("ids", "species"),
    [
        (["GRCh38_ENSG00000000003", "mm10___ENSMUSG00000000001"], ["GRCh38", "mm10"]),
        (["ENSG00000000003.5", "ENSMUSG00000000001"], ["human", "mouse"]),
        (["ENSDARG00000000001"], ["ENSDARG"]),
        (["TP53", "ACTB"], None),
        ([], None),
    ],
)
def test_the_ids_tell_the_species(ids, species):
    found = species_of_genes(pd.DataFrame(index=ids))
    assert found is None if species is None else list(found) == species


def test_a_sample_with_other_genes_is_not_compared_and_that_is_said(check):
    other = simulated("s4", batch=4)
    other.var_names = "X" + other.var_names
    table, evidence = check(six(s4=other), sheet_of(SIX))
    assert not warned(table)
    skipped = [s for s in evidence["not_checked"] if s["sample"] == "s4"]
    assert [s["check"] for s in skipped] == ["expression_distance"]
    assert "shares fewer than" in skipped[0]["reason"]


@pytest.mark.parametrize("n_cells", [0, 1, 3, 10, 50])
@pytest.mark.parametrize("n_samples", [1, 2, 4])
def test_few_cells_are_a_defined_result(check, n_cells, n_samples):
    samples = {
        f"s{n}": simulated(f"s{n}", batch=n, n_cells=max(n_cells, 1))[:n_cells].copy()
        for n in range(n_samples)
    }
    table, evidence = check(samples)
    assert not warned(table)
    assert [s["n_cells"] for s in evidence["samples"]] == [n_cells] * n_samples


@pytest.mark.parametrize("n_genes", [1, 200])
def test_identical_cells_are_a_defined_result(check, n_genes):
    rng = np.random.default_rng(0)
    samples = {}
    for n in range(4):
        counts = sparse.csr_matrix(np.full((30, n_genes), 3, dtype=np.int32))
        var = pd.DataFrame({"gene_name": PLAN_GENES[:n_genes], "is_mito": False})
        var.index = PLAN_GENES[:n_genes]
        obs = pd.DataFrame(index=[f"{b}-s{n}" for b in barcodes(rng, 30)])
        samples[f"s{n}"] = ad.AnnData(counts, obs=obs, var=var)
    table, _ = check(samples)
    assert not warned(table)


def test_sixty_small_samples_are_checked(check):
    profiles = make_profiles(PLAN, seed=1)
    samples = {}
    for n in range(60):
        adata = simulate_sample(
            PLAN, profiles, sample=f"s{n}", batch=n % 8, n_cells=30, seed=n
        )
        codes = barcodes(np.random.default_rng(n), 30)
        adata.obs_names = [f"{code}-s{n}" for code in codes]
        samples[f"s{n}"] = adata
    table, _ = check(samples)
    assert (table["check"] == "shared_barcodes").sum() == 60 * 59 / 2
    assert not warned(table)


def test_the_same_samples_give_the_same_table(check):
    one, two = (check(six(), sheet_of(SIX))[0] for _ in range(2))
    assert one.equals(two)
