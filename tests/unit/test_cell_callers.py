"""Cell callers against planted cells, and their parts against values known by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse, stats

from _shared.cell_callers import (
    CallSettings,
    adjusted,
    alias_table,
    ambient_profile,
    ambient_ranks,
    call_by_ambient,
    call_by_knee,
    call_by_order,
    calls_of,
    compare_callers,
    draw,
    good_turing,
    least_counts,
    log_likelihood,
    simulated_likelihoods,
)

SETTINGS = CallSettings(
    method="EmptyDrops_CR",
    expected_cells=3000,
    max_percentile=0.99,
    max_min_ratio=10,
    ind_min=45000,
    ind_max=90000,
    umi_min=500,
    umi_min_frac_median=0.01,
    cand_max_n=20000,
    fdr=0.01,
    sim_n=2000,
)
N_LARGE, N_SMALL, N_SOUP, N_EMPTY = 150, 60, 100, 4000


def droplets(n_empty=N_EMPTY, seed=3):
    """Return counts: large cells, small cells, large empty droplets, small ones."""
    rng = np.random.default_rng(seed)
    soup = rng.lognormal(0, 1.5, 800)
    kinds = [soup * rng.lognormal(0, 1.5, 800) for _ in range(2)] + [soup, soup]
    sizes = [
        rng.integers(6000, 12000, N_LARGE),
        rng.integers(510, 800, N_SMALL),
        rng.integers(510, 800, N_SOUP),
        rng.integers(5, 60, n_empty),
    ]
    rows = [
        rng.multinomial(total, kind / kind.sum())
        for kind, totals in zip(kinds, sizes, strict=True)
        for total in totals
    ]
    counts = sparse.csr_matrix(np.array(rows))
    return counts, np.asarray(counts.sum(axis=1)).ravel()


def test_emptydrops_finds_small_cells_and_leaves_the_soup():
    counts, totals = droplets()
    call, has_profile = call_by_ambient(
        counts, totals, SETTINGS, rng=np.random.default_rng(0)
    )
    assert has_profile
    assert call.is_cell[:N_LARGE].all()
    assert call.is_cell[N_LARGE : N_LARGE + N_SMALL].mean() >= 0.97
    assert call.is_cell[N_LARGE + N_SMALL :][:N_SOUP].mean() <= 0.03
    assert not call.is_cell[-N_EMPTY:].any()
    assert "scaled down from 45000-90000" in call.evidence[1]
    assert f"{N_SMALL + N_SOUP} candidates with 500 UMIs" in call.evidence[2]


def test_a_seed_gives_the_same_cells():
    counts, totals = droplets()
    one, other = (
        call_by_ambient(counts, totals, SETTINGS, rng=np.random.default_rng(7))[0]
        for _ in range(2)
    )
    assert (one.is_cell == other.is_cell).all()


def test_without_enough_empty_droplets_the_knee_alone_decides_and_says_so():
    counts, totals = droplets(n_empty=100)
    calls, chosen = calls_of(counts, totals, SETTINGS, rng=np.random.default_rng(0))
    assert chosen == "CellRanger2.2"
    assert "EmptyDrops_CR" not in calls
    assert calls[chosen].is_cell.sum() == N_LARGE
    assert "the knee alone decides" in calls[chosen].evidence[-1]


@pytest.mark.parametrize(
    ("falling", "n_knee", "expected"),
    [
        # as the settings say, to the last barcode where there are fewer
        (np.full(100_000, 20), 10, (45_000, 90_000, "")),
        (np.full(50_000, 20), 10, (45_000, 50_000, "")),
        # the later half
        (np.full(45_100, 20), 10, (22_550, 45_100, "")),
        (np.full(3000, 20), 10, (1500, 3000, "")),
        (np.full(300, 20), 10, (150, 300, "only 150 barcodes")),
        (np.full(1000, 2), 10, (500, 1000, "only 1000 UMIs")),
        (np.full(3000, 600), 10, (1500, 3000, "as many UMIs as cells")),
        (np.full(3000, 20), 2000, (1500, 3000, "as many UMIs as cells")),
        (np.array([], dtype=int), 0, (0, 0, "only 0 barcodes")),
    ],
)
def test_the_ambient_ranks_are_scaled_down_or_refused(falling, n_knee, expected):
    first, last, reason = ambient_ranks(falling, n_knee, SETTINGS)
    assert (first, last) == expected[:2]
    assert (expected[2] in reason) if expected[2] else reason == ""


def test_the_knee_is_a_tenth_of_the_robust_maximum():
    falling = np.arange(1000, 0, -1)
    limits = {"max_percentile": 0.99, "max_min_ratio": 10}
    # 100 expected: the second barcode from the top, 999, is the robust maximum
    assert least_counts(falling, 100, **limits) == (999, 100)
    # halves are rounded up, and a cell has a count at least
    assert least_counts(np.array([25, 1]), 1, **limits) == (25, 3)
    assert least_counts(np.array([3, 1]), 1, **limits) == (3, 1)
    call = call_by_knee(np.array([5, 999, 99, 100]), SETTINGS, 1)
    assert call.is_cell.tolist() == [False, True, False, True]


@pytest.mark.parametrize("n_cells", [60, 400, 5000])
def test_ordmag_finds_the_number_of_cells_by_itself(n_cells):
    rng = np.random.default_rng(0)
    totals = np.concatenate(
        [rng.lognormal(8, 0.3, n_cells), rng.lognormal(3, 0.3, 20_000)]
    ).astype(int)
    is_cell = call_by_order(totals, SETTINGS).is_cell
    assert is_cell[:n_cells].mean() > 0.97
    assert is_cell[n_cells:].sum() == 0


@pytest.mark.parametrize("n_barcodes", [1, 2, 3])
@pytest.mark.parametrize("method", ["EmptyDrops_CR", "OrdMag", "TopCells", "all"])
def test_very_few_barcodes_are_a_defined_result(n_barcodes, method):
    counts = sparse.csr_matrix(np.ones((n_barcodes, 4), dtype=int))
    settings = replace(SETTINGS, method=method, expected_cells=2)
    calls, chosen = calls_of(
        counts, np.full(n_barcodes, 4), settings, rng=np.random.default_rng(0)
    )
    expected = min(n_barcodes, 2) if method == "TopCells" else n_barcodes
    assert calls[chosen].is_cell.sum() == expected


def test_simple_good_turing_gives_the_published_numbers():
    """The prosody example of Gale and Sampson (1995)."""
    frequencies = {1: 120, 2: 40, 3: 24, 4: 13, 5: 15, 6: 5, 7: 11, 8: 2, 9: 2, 10: 1}
    frequencies |= {12: 3, 14: 2, 15: 1, 16: 1, 17: 3, 19: 1, 20: 3, 21: 2, 23: 3}
    frequencies |= {24: 3, 25: 3, 26: 2, 27: 2, 28: 1, 31: 2, 32: 2, 33: 1, 34: 2}
    frequencies |= {36: 2, 41: 3, 43: 1, 45: 3, 46: 1, 47: 1, 50: 1, 71: 1, 84: 1}
    frequencies |= {101: 1, 105: 1, 121: 1, 124: 1, 146: 1, 162: 1, 193: 1, 199: 1}
    frequencies |= {224: 1, 226: 1, 254: 1, 257: 1, 339: 1, 421: 1, 456: 1, 481: 1}
    frequencies |= {483: 1, 1140: 1, 1256: 1, 1322: 1, 1530: 1, 2131: 1, 2395: 1}
    frequencies |= {6925: 1, 7846: 1}
    counts = np.repeat(list(frequencies), list(frequencies.values()))
    unseen, of_count = good_turing(counts)
    assert counts.sum() == 30_902
    assert unseen == pytest.approx(0.003883, abs=1e-6)
    assert of_count[1] == pytest.approx(2.468e-5, rel=1e-3)
    assert unseen + of_count[counts].sum() == pytest.approx(1)
    assert (np.diff(of_count[np.unique(counts)]) > 0).all()


def test_too_few_distinct_counts_are_no_profile():
    with pytest.raises(ValueError, match="4 distinct counts are too few"):
        good_turing(np.array([1, 2, 3, 4]))


def test_a_profile_sums_to_one_and_leaves_no_gene_impossible():
    ambient = np.array([0] * 400 + [1] * 20 + [2, 2, 2, 3, 3, 4, 5, 9, 20])
    profile = ambient_profile(ambient)
    assert profile.sum() == pytest.approx(1)
    assert 0 < profile[0] < profile[400] < profile[-1]
    # no gene with a single count: the unseen ones still have a little
    assert 0 < ambient_profile(np.array([0, 2, 3, 4, 5, 6]))[0] < 0.05


def test_the_likelihood_is_that_of_the_multinomial():
    profile = np.array([0.5, 0.3, 0.2])
    rows = np.array([[3, 0, 1], [0, 0, 0], [1, 2, 5]])
    found = log_likelihood(sparse.csr_matrix(rows), profile)
    expected = stats.multinomial.logpmf(rows, rows.sum(axis=1), profile)
    assert found == pytest.approx(expected)


def test_simulated_likelihoods_are_those_of_drawn_barcodes():
    rng = np.random.default_rng(0)
    profile = rng.dirichlet(np.ones(30))
    totals = np.array([1, 10, 200])
    found = simulated_likelihoods(profile, totals, n=4000, rng=rng)
    for column, total in zip(found.T, totals, strict=True):
        drawn = sparse.csr_matrix(rng.multinomial(total, profile, 4000))
        same = stats.ks_2samp(column, log_likelihood(drawn, profile))
        assert same.pvalue > 1e-4


@pytest.mark.parametrize("n_genes", [5, 70_000])
def test_genes_are_drawn_by_their_shares(n_genes):
    rng = np.random.default_rng(1)
    profile = np.full(n_genes, 0.2 / (n_genes - 1))
    profile[-1] = 0.8
    genes = draw(alias_table(profile), (100, 200), rng)
    assert genes.max() == n_genes - 1
    assert (genes == n_genes - 1).mean() == pytest.approx(0.8, abs=0.02)


def test_false_discovery_rates_are_those_of_benjamini_and_hochberg():
    p_values = np.array([0.04, 0.001, 0.03, 0.5, 0.02])
    expected = stats.false_discovery_control(p_values)
    assert adjusted(p_values) == pytest.approx(expected)


def test_callers_are_compared_with_the_chosen_one():
    counts, totals = droplets(n_empty=100)
    calls, chosen = calls_of(
        counts, totals, replace(SETTINGS, method="all"), rng=np.random.default_rng(0)
    )
    table = compare_callers(calls, chosen, totals).set_index("caller")
    assert table["chosen"].to_dict() == {
        "CellRanger2.2": False,
        "OrdMag": False,
        "all": True,
    }
    assert table.loc["all", "n_cells"] == len(totals)
    knee = table.loc["CellRanger2.2"]
    assert knee["n_cells"] == knee["n_shared"] == N_LARGE
    assert knee["jaccard"] == pytest.approx(N_LARGE / len(totals), abs=1e-4)


def test_no_callers_are_an_empty_table():
    table = compare_callers({}, "", np.array([]))
    assert table.empty
    assert list(table)[:2] == ["caller", "chosen"]
