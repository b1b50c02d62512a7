"""Which keys of the configuration make the params of a job other than they were.

Snakemake records the values of params without their names.
"""

import ast
from collections.abc import Collection
from typing import Any

# longer values are cut
N_LETTERS = 40


def changes(
    old: Collection[str], new: dict[str, Any], *, rule: str, config: dict
) -> list[str]:
    """Return a sentence for each difference.

    Parameters
    ----------
    old
        Values as text, those of the record that are no longer among the params.
    new
        Params that are not in the record, by name.
    """
    left = [_value(text) for text in sorted(old)]
    said = []
    # sections are told apart by their keys; what is left is paired by its type
    for name, value in sorted(new.items(), key=lambda item: -_size(item[1])):
        if name == "shared":
            said.append("code that its script shares with others has changed")
            continue
        before = _partner(value, left)
        if before is MISSING:
            said.append(f"{_key((), value, name, rule, config)} is now {_short(value)}")
            continue
        left.remove(before)
        said += [
            f"{_key(path, value, name, rule, config)}: {_short(was)} -> {_short(now)}"
            for path, was, now in differences(before, value)
        ]
    return said


MISSING = object()


def _value(text: str) -> Any:
    """Return what a value was, from its text; the text of what cannot be read."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _size(value: Any) -> int:
    return len(value) if isinstance(value, dict) else 0


def _partner(value: Any, left: list) -> Any:
    """Return which of the old values became this one; `MISSING` if none can be told."""
    if isinstance(value, dict):
        shared = {
            n: len(value.keys() & other.keys())
            for n, other in enumerate(left)
            if isinstance(other, dict)
        }
        best = max(shared, key=shared.__getitem__, default=None)
        is_same = best is not None and (shared[best] or not value or not left[best])
        return left[best] if is_same else MISSING
    plain = [other for other in left if not isinstance(other, dict)]
    alike = [other for other in plain if type(other) is type(value)]
    found = alike or [other for other in plain if other is None or value is None]
    return found[0] if len(found) == 1 else MISSING


def differences(was: Any, now: Any, path: tuple = ()) -> list[tuple[tuple, Any, Any]]:
    """Return where two values differ: the keys that lead there, before and now."""
    if not (isinstance(was, dict) and isinstance(now, dict)):
        return [] if was == now else [(path, was, now)]
    return [
        difference
        for key in [*was, *(key for key in now if key not in was)]
        for difference in differences(was.get(key), now.get(key), (*path, key))
    ]


def _key(path: tuple, value: Any, name: str, rule: str, config: dict) -> str:
    """Return the place of a value in the configuration, if it has one there."""
    if name == "config" or (not path and name in config):
        section = []
    elif isinstance(value, dict):
        section = _section_of(value, config)
        if not section or (path and path[0] not in config[section[0]]):
            section = [f"{rule}: {name}"]
    else:
        having = [of for of in config if name in _keys(config[of])]
        section = having if len(having) == 1 else [rule]
    words = [*section, *(path or ([] if name == "config" else [name]))]
    return ": ".join(map(str, words))


def _section_of(value: dict, config: dict) -> list[str]:
    """Return the section of the configuration that has most of these values."""
    equal = {
        of: sum(value.get(key, MISSING) == own for key, own in config[of].items())
        for of in config
        if isinstance(config[of], dict)
    }
    best = max(equal, key=equal.__getitem__)
    return [best] if equal[best] else []


def _keys(section: Any) -> set:
    return set(section) if isinstance(section, dict) else set()


def _short(value: Any) -> str:
    """Return a value as it stands in a configuration, cut where it is long."""
    words = {None: "null", True: "true", False: "false"}
    text = (
        words[value] if value is None or value is True or value is False else str(value)
    )
    return text if len(text) <= N_LETTERS else f"{text[: N_LETTERS - 3]}..."
