"""Tests of how methods that label the same cells are brought together."""

import numpy as np
import pandas as pd
import pytest

from _shared.consensus import Opinion, agreements, named, read_aliases, vocabulary, vote
from _shared.logs import UserError
from _shared.predicted_labels import predicted


def opinion(method, types, **ontology):
    none = np.zeros(0)
    return Opinion(
        method=method,
        types=types,
        ontology={name.replace("_", " "): known for name, known in ontology.items()},
        scores=np.zeros((0, len(types))),
        label=none,
        confidence=none,
        runner_up=none,
        cell_label=none,
        cell_confidence=none,
    )


def test_names_are_matched_by_id_then_by_alias_then_whatever_their_case():
    words = vocabulary(
        [
            opinion("markers", ["B cell", "T cell", "NK cell"], B_cell="CL:0000236"),
            opinion(
                "reference", ["b lymphocyte", "nk CELL"], b_lymphocyte="CL:0000236"
            ),
            opinion("celltypist", ["Tcm", "B cell", "Mast cells"]),
        ],
        {"tcm": "T cell"},
    )
    assert words.names == ["B cell", "T cell", "NK cell", "Mast cells"]
    assert words.ids == ["CL:0000236", "", "", ""]
    assert words.places["reference"].tolist() == [0, 2]
    assert words.places["celltypist"].tolist() == [1, 0, 3]


def test_one_name_with_two_ids_is_two_types():
    words = vocabulary(
        [
            opinion("markers", ["cell"], cell="CL:0000001"),
            opinion("reference", ["cell"], cell="CL:0000002"),
        ],
        {},
    )
    assert words.names == ["cell", "cell (CL:0000002)"]


@pytest.mark.parametrize(
    ("labels", "confidences", "label", "confidence", "agree"),
    [
        # all say the same
        ([1, 1, 1], [0.9, 0.6, 0.3], 1, 0.6, [True, True, True]),
        # two against the first
        ([0, 1, 1], [0.9, 0.6, 0.3], 1, 0.3, [False, True, True]),
        # a tie: the first, with less confidence
        ([0, 1, -1], [0.8, 0.9, 0], 0, 0.4, [True, False, False]),
        ([-1, 2, 1], [0, 0.5, 0.9], 2, 0.25, [False, True, False]),
        # one that says unknown changes nothing
        ([-1, 2, -1], [0, 0.5, 0], 2, 0.5, [False, True, False]),
        ([-1, -1, -1], [0, 0, 0], -1, 0, [False, False, False]),
    ],
)
def test_most_methods_win_and_disagreement_costs(
    labels, confidences, label, confidence, agree
):
    found = vote(np.array([labels]), np.array([confidences], dtype=float))
    assert found[0].tolist() == [label]
    assert found[1] == pytest.approx([confidence])
    assert found[2].tolist() == [agree]


def test_a_vote_of_many_is_that_of_each_alone():
    rng = np.random.default_rng(0)
    labels, sure = rng.integers(-1, 4, (500, 3)), rng.random((500, 3))
    found = vote(labels, sure)
    for row in range(500):
        said = [one for one in labels[row] if one >= 0]
        best = max(
            said, key=lambda one: (said.count(one), -said.index(one)), default=-1
        )
        assert found[0][row] == best
        total = sum(
            s for s, one in zip(sure[row], labels[row], strict=True) if one == best
        )
        assert found[1][row] == pytest.approx(total / len(said) if said else 0)


def test_without_methods_nothing_is_said():
    label, confidence, agree = vote(np.zeros((2, 0), dtype=int), np.zeros((2, 0)))
    assert label.tolist() == [-1, -1]
    assert confidence.tolist() == [0, 0]
    assert agree.shape == (2, 0)


def test_agreement_is_the_share_of_the_cells_with_the_label_of_their_cluster():
    codes = np.array([0, 0, 0, 0, 1, 1])
    found = agreements(np.array([2, -1]), np.array([2, 2, -1, 0, -1, 3]), codes)
    assert found.tolist() == [0.5, 0.5]


def test_a_label_needs_score_and_lead():
    scores = np.array(
        [[0.6, 0.1, -0.2], [0.3, 0.28, 0], [0.1, 0, 0], [-0.5, 0.4, -0.9]]
    )
    label, confidence, second = named(scores, min_score=0.15, min_lead=0.05)
    assert label.tolist() == [0, -1, -1, 1]
    assert confidence == pytest.approx([1, 0, 0, 0.8])
    assert second.tolist() == [1, 0, 0, 0]
    # kin need no lead over each other, only over the others
    kin = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=bool)
    label, confidence, _ = named(scores, min_score=0.15, min_lead=0.05, kin=kin)
    assert label.tolist() == [0, 0, -1, 1]
    assert confidence[1] == pytest.approx(0.04)
    possible = scores < 0.5
    label, _, _ = named(scores, min_score=0.15, min_lead=0.05, possible=possible)
    assert label.tolist() == [-1, -1, -1, 1]


def test_predictions_of_a_cluster_are_those_of_most_of_its_cells(tmp_path):
    path = tmp_path / "celltypist.tsv.gz"
    pd.DataFrame(
        {
            "cell": ["a", "b", "c", "e", "d", "x"],
            "predicted_label": ["T", "T", "B", "Unassigned", "B", "T"],
            "conf_score": [0.8, 0.4, 1, 0.1, 0.5, 1],
        }
    ).to_csv(path, sep="\t", index=False)
    # f has no prediction
    cells = pd.Index(["a", "b", "c", "d", "e", "f"])
    found = predicted(path, cells, np.array([0, 0, 0, 1, 2, 2]), 3)
    assert found.types == ["B", "T"]
    assert found.cell_label.tolist() == [1, 1, 0, 0, -1, -1]
    assert found.label.tolist() == [1, 0, -1]
    assert found.confidence == pytest.approx([0.4, 0.5, 0])
    assert found.runner_up.tolist() == [0, -1, -1]
    assert found.scores[0] == pytest.approx([1 / 3, 2 / 3])


def test_predictions_of_no_cells_are_none(tmp_path):
    path = tmp_path / "celltypist.tsv.gz"
    path_text = "cell\tpredicted_label\tconf_score\n"
    pd.DataFrame(columns=path_text.split()).to_csv(path, sep="\t", index=False)
    found = predicted(path, pd.Index([], dtype=object), np.zeros(0, dtype=int), 0)
    assert found.types == []
    assert found.label.size == 0


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("label\n", "row 1: column 'cell_type' is missing"),
        ("label\tcell_type\nTcm\t\n", "row 2, column 'cell_type': is empty"),
        (
            "label\tcell_type\nTcm\tT\ntcm\tB\n",
            "row 3, column 'cell_type': 'tcm' is 'T'",
        ),
    ],
)
def test_a_wrong_table_of_aliases_is_refused(table, message, tmp_path):
    path = tmp_path / "aliases.tsv"
    path.write_text(table)
    with pytest.raises(UserError, match=message):
        read_aliases(path)


def test_aliases_are_read_whatever_their_case(tmp_path):
    path = tmp_path / "aliases.tsv"
    path.write_text("label\tcell_type\nTcm\tT cell\n\nTEM\tT cell\n")
    assert read_aliases(path) == {"tcm": "T cell", "tem": "T cell"}
