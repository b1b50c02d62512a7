"""The simulated reads carry what the truth says, and every imperfection at its rate."""

import gzip
import re
from dataclasses import fields, replace
from itertools import pairwise
from types import SimpleNamespace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml

import simulate
from simulated_genome import CODES, make_genome, reverse_complement
from simulated_reads import (
    ANTISENSE,
    EXONIC,
    FOREIGN,
    INTERGENIC,
    INTRONIC,
    draw_molecules,
    make_templates,
)

TINY = simulate.Parameters(
    genes=120,
    cell_types=4,
    cells_per_sample=60,
    umis_per_cell=200,
    empty_droplets=100,
    donors=1,
    whitelist=2000,
    markers_per_type=6,
    differential_genes=8,
)


def records(paths):
    """Yield (name, sequence, quality) of FASTQ files."""
    for path in paths:
        with gzip.open(path, "rt") as handle:
            lines = handle.read().split("\n")
        for i in range(0, len(lines) - 1, 4):
            yield lines[i], lines[i + 1], lines[i + 3]


def text_of(path):
    """Return the text of a packed file."""
    return gzip.decompress(path.read_bytes()).decode()


def content(folder):
    """Return the text of every file, unpacked; matrices as numbers."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".gz":
            found[name] = gzip.decompress(path.read_bytes())
        elif path.suffix == ".h5ad":
            found[name] = ad.read_h5ad(path).to_df().to_csv()
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A simulation of two samples."""
    outdir = tmp_path_factory.mktemp("simulated")
    simulate.main(outdir=outdir, parameters=TINY)
    return outdir


@pytest.fixture(scope="module")
def reads(tiny):
    """The pairs of one sample."""
    folder = tiny / "reads" / "d1_ctrl"
    pairs = [
        list(records(sorted(folder.glob(f"*_R{mate}_001.fastq.gz")))) for mate in (1, 2)
    ]
    path = tiny / simulate.list_path("3M-february-2018")
    whitelist = text_of(path).split()
    return SimpleNamespace(first=pairs[0], second=pairs[1], whitelist=set(whitelist))


@pytest.fixture(scope="module")
def truth(tiny):
    """The planted cells and their counts."""
    cells = pd.read_csv(tiny / "truth/cells.tsv", sep="\t", keep_default_na=False)
    return SimpleNamespace(
        cells=cells,
        counts=ad.read_h5ad(tiny / "truth/counts.h5ad"),
        genes=pd.read_csv(tiny / "truth/genes.tsv", sep="\t", keep_default_na=False),
    )


@pytest.fixture(scope="module")
def genome():
    return make_genome(np.random.default_rng(3), n_genes=400)


@pytest.fixture(scope="module")
def molecules(genome):
    """The molecules of 20 barcodes with 500 UMIs each."""
    rng = np.random.default_rng(4)
    n_genes = len(genome.genes)
    return draw_molecules(
        rng,
        rng.multinomial(500, np.full(n_genes, 1 / n_genes), 20),
        make_templates(genome),
        ambient=np.full(n_genes, 1 / n_genes),
        intronic=0.2,
        antisense=0.03,
        intergenic=0.04,
        foreign=0.02,
        unknown_barcodes=0.015,
        umi_length=12,
    )


def test_the_same_seed_gives_the_same_content(tiny, tmp_path):
    simulate.main(outdir=tmp_path, parameters=TINY)
    assert content(tmp_path) == content(tiny)


def test_options_override_those_of_a_size():
    _, parameters = simulate.parse_arguments(["x", "--size", "small", "--genes", "99"])
    assert parameters.genes == 99
    assert parameters.cell_types == simulate.SIZES["small"]["cell_types"]


def test_every_parameter_has_a_help_text():
    assert set(simulate.HELP) == {field.name for field in fields(TINY)}


def test_transcripts_follow_the_annotation_written(tiny):
    fasta = text_of(tiny / "reference/genome.fa.gz").split(">")[1:]
    chromosomes = {text.split("\n")[0]: "".join(text.split("\n")[1:]) for text in fasta}
    exons, introns = {}, []
    for line in text_of(tiny / "reference/genes.gtf.gz").splitlines():
        fields = line.split("\t")
        if len(fields) > 2 and fields[2] == "exon":
            gene = re.search('gene_id "(.*?)"', line)[1]
            place = (fields[0], int(fields[3]) - 1, int(fields[4]), fields[6])
            exons.setdefault(gene, []).append(place)
    assert set(exons) == set(pd.read_csv(tiny / "truth/genes.tsv", sep="\t")["gene_id"])
    for places in exons.values():
        places.sort(key=lambda place: place[1])
        for left, right in pairwise(places):
            introns.append((chromosomes[left[0]][left[2] : right[1]], left[3]))
    for sequence, strand in introns:
        ends = (sequence[:2], sequence[-2:])
        assert ends == (("GT", "AG") if strand == "+" else ("CT", "AC"))


def test_templates_are_the_spliced_transcripts(genome):
    templates = make_templates(genome)
    for number in (0, 50, 200):
        gene, exons = genome.genes.loc[number], genome.exons[number]
        sequence = genome.sequences[gene["chromosome"]]
        expected = np.concatenate([sequence[start:end] for start, end in exons])
        expected = expected if gene["strand"] > 0 else reverse_complement(expected)
        start = templates.spliced[number]
        found = templates.sequence[start : start + templates.spliced_length[number]]
        assert np.array_equal(found, expected)
        # the first exon is where sense transcription starts
        start = templates.sense[number]
        assert np.array_equal(templates.sequence[start : start + 50], expected[:50])


def test_the_genome_has_its_awkward_genes(genome):
    genes = genome.genes
    assert set(genes["kind"]) == {
        "single",
        "paralog",
        "antisense_overlap",
        "antisense_host",
        "antisense_nested",
    }
    assert (genes["n_exons"] > 1).mean() > 0.7
    overlapping = genes[genes["kind"].str.startswith("antisense")]
    partners = genes.loc[overlapping["partner"]]
    assert (overlapping["strand"].to_numpy() != partners["strand"].to_numpy()).all()
    assert (overlapping["start"].to_numpy() < partners["end"].to_numpy()).all()
    assert (partners["start"].to_numpy() < overlapping["end"].to_numpy()).all()
    mito = genes[genes["chromosome"] == "chrM"]
    assert len(mito) == 13
    assert mito["gene_name"].str.startswith("MT-").all()


def test_paralogs_differ_in_a_few_percent_of_their_bases(genome):
    templates = make_templates(genome)
    for copy in np.flatnonzero(genome.genes["is_copy"]):
        pair = []
        for number in (copy, genome.genes.at[copy, "partner"]):
            start = templates.spliced[number]
            end = start + templates.spliced_length[number]
            pair.append(templates.sequence[start:end])
        assert 0 < (pair[0] != pair[1]).mean() < 0.08


def test_molecules_have_every_kind_at_its_rate(molecules, genome):
    share = np.bincount(molecules.kind, minlength=5) / (molecules.barcode >= 0).sum()
    assert share[ANTISENSE] == pytest.approx(0.03, abs=0.01)
    assert share[INTERGENIC] == pytest.approx(0.04, abs=0.01)
    assert share[FOREIGN] == pytest.approx(0.02, abs=0.01)
    spliced = np.isin(molecules.kind, [EXONIC, INTRONIC])
    has_intron = genome.genes["n_exons"].to_numpy()[molecules.gene] > 1
    intronic = molecules.kind == INTRONIC
    assert intronic[spliced & has_intron].mean() == pytest.approx(0.2, abs=0.03)
    assert not intronic[~has_intron].any()
    unknown = (molecules.barcode < 0).mean()
    assert unknown == pytest.approx(0.015, abs=0.006)


def test_antisense_molecules_come_from_genes_without_a_partner(molecules, genome):
    kinds = genome.genes["kind"].iloc[molecules.gene[molecules.kind == ANTISENSE]]
    assert not kinds.str.startswith("antisense").any()


def test_pairs_share_names_and_have_the_lengths_of_the_chemistry(reads):
    pairs = reads.first, reads.second
    names = [[record[0].split()[0] for record in each] for each in pairs]
    assert names[0] == names[1]
    assert len(set(names[0])) == len(names[0])
    for each, length in zip(pairs, (28, 90), strict=True):
        assert {len(sequence) for _, sequence, _ in each} == {length}
        assert {len(quality) for *_, quality in each} == {length}


def test_barcodes_are_on_the_list_but_for_errors_and_unknown_ones(reads):
    listed = np.mean([seq[:16] in reads.whitelist for _, seq, _ in reads.first])
    expected = (1 - TINY.error_rate) ** 16 * (1 - TINY.unknown_barcodes)
    assert listed == pytest.approx(expected, abs=0.01)


def test_wrong_bases_occur_at_their_rate_and_mostly_with_low_quality(reads):
    # molecules of the cells have several reads: their UMIs differ by errors alone
    codes = {letter: code for code, letter in enumerate(CODES.tobytes().decode())}
    sequences = np.array([[codes[x] for x in seq] for _, seq, _ in reads.first])
    quality = np.array([[*qual.encode()] for *_, qual in reads.first])
    groups = pd.Series([seq[:16] + seq[19:28] for _, seq, _ in reads.first])
    several = groups.groupby(groups).transform("size") > 2
    middle = sequences[several, 16:19]
    group = groups[several].to_numpy()
    consensus = (
        pd.DataFrame(middle).groupby(group).transform(lambda x: x.mode().iloc[0])
    )
    wrong = middle != consensus.to_numpy()
    assert wrong.mean() == pytest.approx(TINY.error_rate, rel=0.6)
    low = quality[several, 16:19][wrong] < ord("F")
    assert low.mean() > 0.6


def test_reads_per_molecule_are_as_planted(reads, truth):
    barcodes = set(truth.cells.loc[truth.cells["sample"] == "d1_ctrl", "barcode"])
    tags = pd.Series(
        [seq for _, seq, _ in reads.first if seq[:16] in barcodes], dtype=str
    )
    # an error makes one read of its own out of a molecule: allow for it
    mean = tags.value_counts().mean()
    assert 0.85 * TINY.reads_per_umi < mean < 1.05 * TINY.reads_per_umi


def test_truth_totals_equal_the_distinct_molecules_of_a_cell(tmp_path):
    nothing = dict.fromkeys(("antisense", "intergenic", "foreign"), 0.0)
    clean = replace(TINY, error_rate=0.0, unknown_barcodes=0.0, **nothing)
    simulate.main(outdir=tmp_path, parameters=clean)
    cells = pd.read_csv(tmp_path / "truth/cells.tsv", sep="\t")
    for sample, of_sample in cells.groupby("sample"):
        paths = (tmp_path / "reads" / sample).glob("*_R1_001.fastq.gz")
        tags = {sequence for _, sequence, _ in records(paths)}
        counted = pd.Series([tag[:16] for tag in tags]).value_counts()
        found = counted.reindex(of_sample["barcode"]).to_numpy()
        # once in a while two molecules of a cell have the same UMI
        missing = of_sample["total_umis"].to_numpy() - found
        assert missing.min() == 0
        assert missing.sum() <= 2


def test_truth_counts_and_cells_agree(truth):
    counts = truth.counts
    names = truth.cells["barcode"] + "-" + truth.cells["sample"]
    assert counts.obs_names.tolist() == names.tolist()
    totals = np.asarray(counts.X.sum(axis=1)).ravel()
    assert totals.tolist() == truth.cells["total_umis"].tolist()
    assert counts.var_names.tolist() == truth.genes["gene_id"].tolist()


def test_doublets_and_dying_cells_are_planted_at_their_rates(truth):
    n = TINY.cells_per_sample
    per_sample = truth.cells.groupby("sample")[["doublet", "dying"]].sum()
    assert per_sample["doublet"].eq(round(TINY.doublet_rate * n)).all()
    assert per_sample["dying"].eq(round(TINY.dying_rate * n)).all()
    assert not (truth.cells["doublet"] & truth.cells["dying"]).any()
    mito = truth.genes["gene_name"].str.startswith("MT-").to_numpy()
    share = np.asarray(truth.counts.X[:, mito].sum(axis=1)).ravel()
    share = pd.Series(share / truth.cells["total_umis"])
    by_dying = share.groupby(truth.cells["dying"]).mean()
    assert by_dying[True] > 0.4
    assert by_dying[False] < 0.1


def test_the_response_is_in_the_cells_that_respond():
    parameters = simulate.Parameters(**simulate.SIZES["small"])
    rng = np.random.default_rng(1)
    genome = make_genome(rng, n_genes=parameters.genes)
    types = simulate.choose_types(parameters.cell_types)
    samples = simulate.list_samples(3)
    planted, shares = simulate.plant_shares(
        rng, types=types, samples=samples, rare_share=0.03, shift=1.5
    )
    expression = simulate.plant_expression(
        rng,
        genes=genome.genes,
        samples=samples,
        types=types,
        shares=shares,
        n_markers=20,
        n_differential=36,
    )
    tested = (samples["condition"] == simulate.TESTED).to_numpy()
    logs = np.log2(np.where(expression.profiles > 0, expression.profiles, 1))
    change = logs[:, tested].mean(axis=1) - logs[:, ~tested].mean(axis=1)
    change = pd.DataFrame(change, index=types, columns=genome.genes["gene_id"])
    differential = expression.differential.set_index("gene_id")["log2_fold_change"]
    assert (differential > 0).sum() == (differential < 0).sum() == 18
    responder = change.loc[simulate.RESPONDER, differential.index]
    # normalizing to a share moves every gene of the type by the same little
    assert np.allclose(responder, differential, atol=0.5)
    others = change.drop(index=simulate.RESPONDER)
    assert others.abs().to_numpy().max() < 0.5

    shifted = types.index(simulate.SHIFTED)
    odds = planted[:, shifted] / (1 - planted[:, shifted])
    assert np.log(odds[1] / odds[0]) == pytest.approx(1.5)
    assert planted[0, types.index(simulate.RARE)] == pytest.approx(0.03)
    assert np.allclose(shares.sum(axis=1), 1)


def test_sheets_and_config_name_files_that_exist(tiny):
    sheet = pd.read_csv(tiny / "config/reads.tsv", sep="\t", dtype=str)
    assert sheet.columns.tolist() == ["sample", "run", "lane", "fastq_1", "fastq_2"]
    assert len(sheet) == 2 * TINY.lanes
    for column in ("fastq_1", "fastq_2"):
        assert all((tiny / "config" / path).exists() for path in sheet[column])
    samples = pd.read_csv(tiny / "config/samples.tsv", sep="\t", dtype=str)
    assert samples["sample"].tolist() == ["d1_ctrl", "d1_stim"]
    config = yaml.safe_load((tiny / "config/config.yaml").read_text())
    assert (tiny / config["check_reference"]["fasta"]).exists()
    assert (tiny / config["check_reference"]["gtf"]).exists()
    markers = pd.read_csv(tiny / config["annotate_clusters"]["markers"], sep="\t")
    assert set(markers["direction"]) == {"up", "down"}
    genes = pd.read_csv(tiny / "truth/genes.tsv", sep="\t", keep_default_na=False)
    up = markers[markers["direction"] == "up"].merge(
        genes, left_on="gene", right_on="gene_name"
    )
    assert (up["cell_type"] == up["marker_of"]).all()
