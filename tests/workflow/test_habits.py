"""Scripts, rules, config and docs keep to the house rules, now and later."""

import ast
import re
from pathlib import Path

import pytest
import yaml
from running import ROOT, snakemake, text_of

from _shared.metrics import METRICS

SCRIPTS = sorted(ROOT.glob("scripts/*.py"))
RULE_FILES = sorted(ROOT.glob("rules/*.smk"))
SCHEMA = yaml.safe_load((ROOT / "config/schemas/config.schema.yaml").read_text())
DEFAULTS = yaml.safe_load((ROOT / "config/config.yaml").read_text())
RULE = re.compile(r"^rule (\w+):\n(.*?)(?=^rule |\Z)", re.MULTILINE | re.DOTALL)
RULES = {
    name: body for path in RULE_FILES for name, body in RULE.findall(path.read_text())
}


def is_guard(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) in (
        "'snakemake' in globals()",
        "TYPE_CHECKING",
    )


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_a_module_with_one_main(path):
    tree = ast.parse(path.read_text())
    outside = [node for node in tree.body if not is_guard(node)]
    names = {n.id for top in outside for n in ast.walk(top) if isinstance(n, ast.Name)}
    assert "snakemake" not in names
    assert "main" in {n.name for n in outside if isinstance(n, ast.FunctionDef)}
    assert ast.get_docstring(tree)
    imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert "__future__" not in imported, "a SyntaxError below Snakemake's preamble"
    assert "snakemake.config" not in path.read_text(), "Snakemake does not track it"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_writes_whole_outputs_or_none(path):
    """All that knows of `snakemake` stands inside the job that moves the outputs."""
    guard = ast.parse(path.read_text()).body[-1]
    assert ast.unparse(guard.test) == "'snakemake' in globals()"
    (block,) = guard.body
    assert isinstance(block, ast.With)
    call = block.items[0].context_expr
    assert (call.func.id, call.args[0].id) == ("job", "snakemake")


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_rule_is_a_contract(name):
    body = RULES[name]
    assert re.match(r'    """.+\."""\n', body), "a docstring of one line"
    assert f'"logs/{name}' in body
    assert f'"benchmarks/{name}' in body
    assert "conda:" in body
    assert "mem_mb=" in body
    assert "runtime=" in body
    assert not re.search(r"^    (run|message):", body, re.MULTILINE)
    script = re.search(r'"\.\./scripts/(\w+)\.py"', body)
    assert script, "a shell would write under the final names"
    assert script[1] == name
    assert "{config[" not in body


def test_every_script_belongs_to_a_rule():
    assert {path.stem for path in SCRIPTS} <= set(RULES)


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_shared_calculation_is_part_of_the_params(name):
    """Snakemake does not see an edit of an imported module; a digest in params does."""
    script = re.search(r'"\.\./scripts/(\w+)\.py"', RULES[name])
    if script is None:
        return
    plumbing = {"logs", "jobs"}
    used = shared_modules(ROOT / f"scripts/{script[1]}.py") - plumbing
    digest = re.search(r"shared_digest\((.*?)\)", RULES[name], re.DOTALL)
    named = set(re.findall(r'"(\w+)\.', digest[1])) if digest else set()
    assert used <= named


def shared_modules(path):
    """Return the modules of scripts/_shared that a file imports, however deep."""
    tree = ast.parse(path.read_text())
    found = {
        node.module.removeprefix("_shared.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("_shared.")
    }
    for name in set(found):
        found |= shared_modules(ROOT / f"scripts/_shared/{name}.py")
    return found


def leaves(schema, path=()):
    if schema.get("type") == "object" and "properties" in schema:
        assert schema["additionalProperties"] is False
        for key, value in schema["properties"].items():
            yield from leaves(value, (*path, key))
    else:
        yield path, schema


@pytest.mark.parametrize(
    ("path", "leaf"), list(leaves(SCHEMA)), ids=lambda x: str(x)[:40]
)
def test_every_key_has_type_description_default_and_docs(path, leaf):
    assert "type" in leaf or "enum" in leaf
    assert leaf["description"]
    default = DEFAULTS
    for key in path:
        default = default[key]
    docs = (ROOT / "config/README.md").read_text()
    assert (
        f"`{path[-1]}`" in docs
        or f"`{': '.join(path)}`" in docs
        or (f"`{path[-1]}: <name>`" in docs)
    )
    assert path[0] in docs


def test_every_section_is_named_as_a_rule():
    shared = {"samples", "reads", "seed", "strict", "design", "parity", "preview_reads"}
    shared |= {"previous", "verify_rerun"}
    assert set(DEFAULTS) - shared <= set(RULES)


def test_the_metrics_that_may_set_a_sample_aside_have_limits():
    section = SCHEMA["properties"]["filter_cells"]["properties"]
    named = section["set_aside_when_failing"]["items"]["enum"]
    assert set(named) == {name for name, metric in METRICS.items() if metric.warn}


def test_every_output_is_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    for name, body in RULES.items():
        output = re.search(r"    output:\n(.*?)\n    log:", body, re.DOTALL)[1]
        for path in re.findall(r'"results/([^"]+)"', output):
            assert (
                Path(path)
                .name.replace("{whitelist}", "<name>")
                .replace("{sample}", "<sample>")
                .replace("{accession}", "<accession>")
                in readme
            ), f"{path} of {name}"


def test_snakemake_lint_is_clean(project):
    done = snakemake(project, "--lint")
    assert done.returncode == 0, text_of(done)
