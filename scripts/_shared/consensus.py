"""What several methods say of the same cells, brought together.

Every method gives a cluster, and a cell, a label with a confidence from 0 to 1, or says
"unknown". Names of different methods are one type when both have the same id of the
Cell Ontology, else when they are the same but for case; before that, a table of aliases
may rename them. The label that most methods give wins; among as many, that of the
first of markers, reference, celltypist. The confidence is the sum of the confidences of
the methods that agree, divided by the number of those that say anything: one that says
"unknown" changes nothing, one that says something else lowers it.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from _shared.alike_cells import Cells
from _shared.logs import UserError
from _shared.marker_table import UNKNOWN

# the order in which methods go first where as many speak for either label
METHODS = ("markers", "reference", "celltypist")
ALIAS_COLUMNS = ("label", "cell_type")


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """What one method says; types are places in `types`, -1 for unknown or none.

    `scores` is clusters x types; `label`, `confidence`, `runner_up` have a value per
    cluster, `cell_label` and `cell_confidence` one per cell. `ontology` has the id of
    each type that has one.
    """

    method: str
    types: list[str]
    ontology: dict[str, str]
    scores: np.ndarray
    label: np.ndarray
    confidence: np.ndarray
    runner_up: np.ndarray
    cell_label: np.ndarray
    cell_confidence: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The types of all methods: names, ids ("" for none), and each method's places.

    `places` is by method: the place of each of its types among `names`.
    """

    names: list[str]
    ids: list[str]
    places: dict[str, np.ndarray]


def read_aliases(path: Path) -> dict[str, str]:
    """Return the name of the type for labels in lower case.

    Raises
    ------
    UserError
        Naming file, row and column of what is wrong.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    header = rows[0] if rows else []
    for column in ALIAS_COLUMNS:
        if column not in header:
            raise UserError(
                f"{path}, row 1: column '{column}' is missing. The table of aliases is "
                f"tab-separated with the columns {', '.join(ALIAS_COLUMNS)}."
            )
    aliases: dict[str, str] = {}
    for number, fields in enumerate(rows[1:], start=2):
        row = {k: v.strip() for k, v in zip(header, fields, strict=False)}
        if not any(row.values()):
            continue
        for column in ALIAS_COLUMNS:
            if not row.get(column):
                raise UserError(f"{path}, row {number}, column '{column}': is empty.")
        label, cell_type = (row[column] for column in ALIAS_COLUMNS)
        if aliases.setdefault(label.casefold(), cell_type) != cell_type:
            raise UserError(
                f"{path}, row {number}, column 'cell_type': '{label}' is "
                f"'{aliases[label.casefold()]}' in another row; give it one name."
            )
    return aliases


def named(
    scores: np.ndarray,
    *,
    min_score: float,
    min_lead: float,
    possible: np.ndarray | None = None,
    kin: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return best type (-1: none fits), confidence, and second type of each group.

    The confidence is twice the lead over the second type, or over chance where that is
    higher, up to 1. The second of a group that nothing fits is the type that is
    nearest; -1 where there is none. `possible` flags, in the shape of `scores`, what
    a label may be; `kin` (types x types) the types that need no lead over each other.
    """
    n, n_types = scores.shape
    if n_types == 0:
        none = np.full(n, -1)
        return none, np.zeros(n), none.copy()
    order = np.argsort(-scores, axis=1, kind="stable")
    rows = np.arange(n)
    first = order[:, 0]
    best = scores[rows, first]
    second = order[:, 1] if n_types > 1 else np.full(n, -1)
    rival = scores[rows, second] if n_types > 1 else np.full(n, -np.inf)
    apart = scores if kin is None else np.where(kin[first], -np.inf, scores)
    apart = np.where(np.arange(n_types) == first[:, None], -np.inf, apart).max(axis=1)
    fit = (best >= min_score) & (best - apart >= min_lead)
    if possible is not None:
        fit &= possible[rows, first]
    confidence = np.clip(2 * (best - np.maximum(rival, 0)), 0, 1)
    return (
        np.where(fit, first, -1),
        np.where(fit, confidence, 0),
        np.where(fit, second, first),
    )


def vocabulary(opinions: list[Opinion], aliases: dict[str, str]) -> Vocabulary:
    """Return the types of all methods, each once, by the name that came first."""
    renamed = {
        of.method: [aliases.get(name.casefold(), name) for name in of.types]
        for of in opinions
    }
    id_of: dict[str, str] = {}
    for of in opinions:
        for name, given in zip(renamed[of.method], of.types, strict=True):
            if known := of.ontology.get(given):
                id_of.setdefault(name.casefold(), known)
    names: list[str] = []
    ids: list[str] = []
    place_of: dict[str, int] = {}
    places = {}
    for of in opinions:
        here = []
        for name, given in zip(renamed[of.method], of.types, strict=True):
            known = of.ontology.get(given) or id_of.get(name.casefold(), "")
            key = known or name.casefold()
            if key not in place_of:
                place_of[key] = len(names)
                # two ids under one name are two types
                names.append(f"{name} ({known})" if name in names else name)
                ids.append(known)
            here.append(place_of[key])
        places[of.method] = np.array(here, dtype=int)
    return Vocabulary(names=names, ids=ids, places=places)


def placed(types: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return places among all types for those of one method; -1 stays."""
    return np.append(places, -1)[types]


def vote(
    labels: np.ndarray, confidences: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return label (-1: unknown), confidence, and which methods agree with it.

    `labels` and `confidences` are clusters (or cells) x methods, in their order.
    """
    n, n_methods = labels.shape
    if n_methods == 0:
        return np.full(n, -1), np.zeros(n), np.zeros((n, 0), dtype=bool)
    says = labels >= 0
    same = (labels[:, :, None] == labels[:, None, :]) & says[:, :, None]
    votes = np.where(says, same.sum(axis=1), 0)
    winner = votes.argmax(axis=1)
    label = labels[np.arange(n), winner]
    agree = says & (labels == label[:, None])
    total = np.where(agree, confidences, 0).sum(axis=1)
    return label, total / np.maximum(says.sum(axis=1), 1), agree


def agreements(label: np.ndarray, cell_label: np.ndarray, codes: np.ndarray):
    """Return the share of each cluster's cells whose own label is the cluster's."""
    same = cell_label == label[codes]
    sizes = np.bincount(codes, minlength=len(label))
    return np.bincount(codes, weights=same, minlength=len(label)) / np.maximum(sizes, 1)


def told(cluster_label: int, names: list[str]) -> str:
    """Return the name of a type; of -1, unknown."""
    return names[cluster_label] if cluster_label >= 0 else UNKNOWN


def joined(
    cells: Cells, opinions: list[Opinion], words: Vocabulary
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return the row of each cluster, and label and confidence of each cell."""
    labels, of_cells = (
        np.column_stack(
            [placed(getattr(o, what), words.places[o.method]) for o in opinions]
            or [np.zeros((size, 0), dtype=int)]
        )
        for what, size in (
            ("label", len(cells.clusters)),
            ("cell_label", len(cells.codes)),
        )
    )
    sure, sure_of_cells = (
        np.column_stack([getattr(o, what) for o in opinions] or [np.zeros((size, 0))])
        for what, size in (
            ("confidence", len(cells.clusters)),
            ("cell_confidence", len(cells.codes)),
        )
    )
    label, confidence, agree = vote(labels, sure)
    cell_label, cell_confidence, _ = vote(of_cells, sure_of_cells)
    table = pd.DataFrame(
        {
            "cluster": cells.clusters,
            "n_cells": np.bincount(cells.codes, minlength=len(cells.clusters)),
            "cell_type": [told(one, words.names) for one in label],
            "ontology_id": [words.ids[one] if one >= 0 else "" for one in label],
            "confidence": confidence,
            "agreement": agreements(label, cell_label, cells.codes),
        }
    )
    rows = [
        scores_of(opinions, words, number, one, agree[number], labels[number])
        for number, one in enumerate(label)
    ]
    columns = ["score", "runner_up", "runner_up_score", "methods"]
    table[columns] = pd.DataFrame(rows, columns=columns, index=table.index)
    for method in METHODS:
        table[[f"{method}_label", f"{method}_confidence"]] = "", np.nan
    for opinion in opinions:
        table[f"{opinion.method}_label"] = [
            told(one, opinion.types) for one in opinion.label
        ]
        table[f"{opinion.method}_confidence"] = opinion.confidence
    return table, cell_label, cell_confidence


def scores_of(
    opinions: list[Opinion],
    words: Vocabulary,
    cluster: int,
    label: int,
    agree: np.ndarray,
    labels: np.ndarray,
) -> tuple[float, str, float, str]:
    """Return score, runner-up, its score, and the methods that agree, of a cluster.

    Scores are of the first method that agrees; of an unknown cluster, of the first
    method. The runner-up is what another method says, else this method's second.
    """
    methods = ",".join(
        o.method for o, is_so in zip(opinions, agree, strict=True) if is_so
    )
    voices = [o for o in opinions if o.types]
    if not voices:
        return np.nan, "", np.nan, methods
    if label < 0:
        opinion, score = voices[0], voices[0].scores[cluster].max()
    else:
        opinion = opinions[int(agree.argmax())]
        score = opinion.scores[cluster][opinion.label[cluster]]
        for other, said in zip(opinions, labels, strict=True):
            if said >= 0 and said != label:
                rival = other.scores[cluster][other.label[cluster]]
                return score, words.names[said], rival, methods
    second = opinion.runner_up[cluster]
    if second < 0:
        return score, "", np.nan, methods
    name = words.names[words.places[opinion.method][second]]
    return score, name, opinion.scores[cluster][second], methods
