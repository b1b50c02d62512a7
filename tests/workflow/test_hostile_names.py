"""Names that a shell would run: they are taken as they are, or refused; none runs.

Whatever a user may name is named like that: samples, files, folders, columns and their
values, contrasts, titles, and the working folder itself.
"""

import ast
import re
from pathlib import Path

import pytest
import yaml
from plans import plan
from running import ROOT

# a file that appears wherever one of these names is run
RUN = "touch canary"
HOSTILE = {
    "shell": f"a b'c\"d; {RUN}; $({RUN}) `{RUN}` && {RUN} & | > canary \\ $HOME ~ *? é",
    "option": f"-rf --config=x $({RUN})",
    "newline": f"a\n{RUN}\r{RUN}\u2028b\u202e",
    "braces": "{x} {config} { %s",
}
each_name = pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)


def rewrite(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def moved(project, old, name, ending):
    """Give a file of the project a hostile name; return that."""
    target = project / f"{name}{ending}"
    (project / old).rename(target)
    return target.name


def configured(project, **sections):
    path = project / "config/config.yaml"
    config = yaml.safe_load(path.read_text()) | sections
    path.write_text(yaml.safe_dump(config))


def name_sample(project, name):
    for sheet in ("samples", "reads"):
        rewrite(project / f"config/{sheet}.tsv", "\na\t", f"\n{name}\t")


def name_reads(project, name):
    rewrite(
        project / "config/reads.tsv",
        "../reads/a_1.fastq",
        f"../{moved(project, 'reads/a_1.fastq', name, '.fastq')}",
    )


def name_folder_of_reads(project, name):
    (project / "reads").rename(project / name)
    rewrite(project / "config/reads.tsv", "../reads/", f"../{name}/")


def name_counts(project, name):
    new = moved(project, "counts.h5ad", name, ".h5ad")
    rewrite(project / "config/samples.tsv", "../counts.h5ad", f"../{new}")


def name_matrix_folder(project, name):
    folder = project / name
    folder.mkdir()
    for file in ("matrix.mtx", "barcodes.tsv", "features.tsv"):
        (folder / file).write_text("x\n")
    rewrite(project / "config/samples.tsv", "../counts.h5ad", f"../{name}")


def name_reference(project, name):
    fasta, gtf = (
        moved(project, old, name, Path(old).suffix)
        for old in ("genome.fa", "genes.gtf")
    )
    configured(project, check_reference={"fasta": fasta, "gtf": gtf})


def name_whitelist(project, name):
    new = moved(project, "list.txt", name, ".txt")
    configured(project, prepare_whitelist={"3M-february-2018": new})


def name_index(project, name):
    folder = project / name
    folder.mkdir()
    for file in ("genomeParameters.txt", "Genome", "SA", "SAindex"):
        (folder / file).write_text("x\n")
    configured(project, index_genome={"index": name})


def name_tables(project, name):
    texts = {
        "markers": "cell_type\tgene\tdirection\nB\tCD79A\tup\n",
        "aliases": "label\tcell_type\nb\tB\n",
        "sets": "s\tx\tG1\tG2\n",
        "network": "source\ttarget\nG1\tG2\n",
        "cells": "x\n",
        "bulk": "x\n",
    }
    paths = {what: f"{name}.{what}" for what in texts}
    for what, text in texts.items():
        (project / paths[what]).write_text(text)
    configured(
        project,
        annotate_clusters={
            "markers": paths["markers"],
            "aliases": paths["aliases"],
            "reference": paths["cells"],
        },
        test_gene_sets={"gene_sets": {"own": paths["sets"]}},
        infer_activities={"networks": {"own": paths["network"]}},
        compare_bulk={"table": paths["bulk"]},
    )


def name_previous(project, name):
    path = project / name / "results/report/manifest.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}\n")
    configured(project, previous=name)


def name_sets(project, name):
    (project / "own").write_text("s\tx\tG1\tG2\n")
    configured(project, test_gene_sets={"gene_sets": {name: "own"}})


def name_networks(project, name):
    (project / "own").write_text("source\ttarget\nG1\tG2\n")
    configured(project, infer_activities={"networks": {name: "own"}})


def name_column(project, name):
    rewrite(project / "config/samples.tsv", "condition", f"condition\t{name}")
    rewrite(project / "config/samples.tsv", "\tx\t", "\tx\t1\t")
    rewrite(project / "config/samples.tsv", "\ty\t", "\ty\t2\t")
    configured(project, design={"columns": [name]})


def name_value(project, name):
    rewrite(project / "config/samples.tsv", "\tx\t", f"\t{name}\t")
    configured(project, design={"formula": "~ condition"})


def name_contrast(project, name):
    contrast = {name: ["condition", "y", "x"]}
    configured(project, design={"formula": "~ condition", "contrasts": contrast})


def name_level(project, name):
    contrast = {"own": ["condition", name, "x"]}
    configured(project, design={"formula": "~ condition", "contrasts": contrast})


def name_formula(project, name):
    configured(project, design={"formula": f"~ condition + {name}"})


def name_formula_call(project, name):
    code = f"~ condition + {{__import__('os').system({name!r})}}"
    contrast = {"own": ["condition", "y", "x"]}
    configured(project, design={"formula": code, "contrasts": contrast})


def name_title(project, name):
    configured(project, write_report={"title": name})


def name_cluster(project, name):
    configured(
        project,
        order_cells={"root": name},
        infer_networks={"cell_types": [name]},
        find_clusters={"subclusters": {name: 0.5}},
    )


def name_pattern(project, name):
    configured(project, load_cells={"mito_pattern": name})


def name_species(project, name):
    config = yaml.safe_load((project / "config/config.yaml").read_text())
    reference = config["check_reference"] | {"species": {name: name}}
    configured(project, check_reference=reference)


def name_chemistry(project, name):
    configured(project, inspect_reads={"chemistry": name})


def name_parity(project, name):
    configured(project, parity={"sample": name, "matrix": "counts.h5ad"})


def name_server(project, name):
    configured(project, fetch_reads={"server": f"https://{name}"})


PLACES = {
    place.__name__.removeprefix("name_"): place
    for place in (
        *(name_sample, name_reads, name_folder_of_reads, name_counts),
        *(name_matrix_folder, name_reference, name_whitelist, name_index),
        *(name_tables, name_previous, name_sets, name_networks, name_column),
        *(name_value, name_contrast, name_level, name_formula, name_formula_call),
        *(name_title, name_cluster, name_pattern, name_species, name_chemistry),
        *(name_parity, name_server),
    )
}


def canaries(folder):
    return [path for path in folder.rglob("canary") if path.is_file()]


def sentence_of(folder):
    """Return what a plan is refused with, in one sentence; "" where it is made."""
    try:
        assert plan(folder).jobs
    except ValueError as refused:
        said = str(refused)
        assert re.match(r"reads2cells: .+\.$", said, re.DOTALL), said
        return said
    finally:
        assert canaries(folder) == []
        assert canaries(Path.cwd()) == []
    return ""


# paths that are no inputs, and texts: taken as they are
TAKEN = {
    *("reads", "folder_of_reads", "counts", "matrix_folder", "whitelist"),
    *("index", "tables", "previous", "title", "value"),
}


@pytest.mark.parametrize("place", PLACES)
@each_name
def test_a_hostile_name_is_taken_or_refused(project, place, name):
    PLACES[place](project, name)
    said = sentence_of(project)
    if place in TAKEN and name == HOSTILE["shell"]:
        assert said == ""


@each_name
def test_a_working_folder_may_have_any_name(project, name):
    folder = project / "inside" / name
    folder.mkdir(parents=True)
    for part in ("config", "reads", "genome.fa", "genes.gtf", "list.txt"):
        (project / part).rename(folder / part)
    (project / "counts.h5ad").rename(folder / "counts.h5ad")
    assert sentence_of(folder) == ""
    assert canaries(project) == []


@pytest.mark.parametrize("place", ["reads", "counts", "reference", "previous"])
def test_braces_in_a_path_are_refused(project, place):
    PLACES[place](project, "a{b}")
    assert "has braces" in sentence_of(project)


@pytest.mark.parametrize("name", ['a"b', "a\nb"])
def test_a_reference_that_star_would_misread_is_refused(project, name):
    name_reference(project, name)
    assert "rename the file" in sentence_of(project)


def test_a_formula_runs_no_code(project):
    name_formula_call(project, RUN)
    assert "which no formula needs" in sentence_of(project)


def test_a_quote_that_is_not_closed_is_told(project):
    rewrite(project / "config/samples.tsv", "\tx\t", '\t"x\t')
    assert "row 2: a double quote" in sentence_of(project)


def test_a_shell_gets_every_name_in_quotes():
    for path in (ROOT / "Snakefile", *ROOT.glob("rules/*.smk")):
        for text in re.findall(
            r"^    shell:\n((?:        .*\n)+)", path.read_text(), re.M
        ):
            for inserted in re.findall(r"\{([^{}]+)\}", text):
                assert inserted.endswith(":q"), f"{path.name}: {{{inserted}}}"


SCRIPTS = sorted(ROOT.glob("scripts/**/*.py"))
NEVER = {
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("shell", "eval", "exec", "asyncio.create_subprocess_shell"),
}
PROGRAMS = {f"subprocess.{name}" for name in ("run", "Popen", "call", "check_output")}


def shells_of(code):
    """Return the calls of a script by which text may get to a shell."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        keys = {word.arg for word in node.keywords}
        is_text = (
            name in PROGRAMS
            and node.args
            and isinstance(node.args[0], ast.Constant | ast.JoinedStr)
        )
        if name in NEVER or (name in PROGRAMS and "shell" in keys) or is_text:
            found.append(f"line {node.lineno}: {name}")
    return found


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_gives_no_text_to_a_shell(path):
    assert shells_of(path.read_text()) == []


@pytest.mark.parametrize(
    "code",
    [
        "os.system(f'cat {path}')",
        "subprocess.run(f'cat {path}', shell=True)",
        "subprocess.run('true')",
        "eval(text)",
    ],
)
def test_text_for_a_shell_is_found(code):
    assert len(shells_of(code)) == 1
