"""The config check: one sentence that names the key."""

import copy
from pathlib import Path

import pytest
import yaml

from _shared.logs import UserError
from _shared.settings import canonical, check_config, check_together, is_blank

CONFIG = Path(__file__).parents[2] / "config"
SCHEMA = yaml.safe_load((CONFIG / "schemas/config.schema.yaml").read_text())
DEFAULTS = yaml.safe_load((CONFIG / "config.yaml").read_text())


def changed(section, **keys):
    config = copy.deepcopy(DEFAULTS)
    config.setdefault(section, {}).update(keys)
    return config


def test_the_defaults_fit():
    check_config(DEFAULTS, SCHEMA)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            changed("filter_cells", min_gene=5),
            r"filter_cells: unknown key 'min_gene' \(",
        ),
        (
            changed("filtr_cells"),
            r"config: unknown key 'filtr_cells' \(did you mean 'fi",
        ),
        (
            changed("find_clusters", n_neighbors="high"),
            "n_neighbors: 'high' is not of ty",
        ),
        (
            changed("find_clusters", resolution="high"),
            r"resolution: 'high' does not match '\^auto\$'; resolution of Leiden",
        ),
        (
            changed("find_clusters", resolution=0),
            "find_clusters: resolution: 0 is less",
        ),
        (changed("count_reads", soloFeatures=["Genes"]), "soloFeatures: 0: 'Genes' is"),
        (changed("design", contrasts={"a": ["x", "y"]}), "design: contrasts: a:"),
        ({k: v for k, v in DEFAULTS.items() if k != "seed"}, "key 'seed' is missing"),
    ],
)
def test_a_wrong_key_or_value_is_named(config, message):
    with pytest.raises(UserError, match=message) as raised:
        check_config(config, SCHEMA)
    assert "\n" not in str(raised.value)


def test_the_order_of_keys_does_not_matter():
    one = canonical({"b": {"y": 1, "x": [{"d": 1, "c": 2}]}, "a": 0})
    assert list(one) == ["a", "b"]
    assert list(one["b"]["x"][0]) == ["c", "d"]


def test_the_defaults_fit_together():
    check_together(DEFAULTS)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            changed("load_cells", feature="Gene"),
            "'Gene' is not counted; add it to count",
        ),
        (
            changed("count_reads", soloFeatures=["GeneFull_Ex50pAS", "Velocyto"]),
            "Velocyto needs Gene",
        ),
        (
            changed("count_reads", soloUMIdedup="Exact"),
            "MultiGeneUMI_CR works with soloUMIdedup: 1MM_CR alone",
        ),
        (changed("call_cells", ind_min=90000), "ind_min must be below ind_max"),
        (changed("index_genome", index="nowhere"), "no STAR index in nowhere; mend"),
    ],
)
def test_keys_that_do_not_fit_together_are_named(config, message):
    with pytest.raises(UserError, match=message):
        check_together(config)


@pytest.mark.parametrize(
    ("text", "blank"),
    [("", True), ("# seed: 1\n", True), ("seed: 1\n", False), ("seed: [\n", False)],
)
def test_a_config_of_comments_alone_changes_nothing(tmp_path, text, blank):
    (tmp_path / "config.yaml").write_text(text)
    assert is_blank(tmp_path / "config.yaml") is blank
