"""The configuration: checked against its schema, in an order that never varies."""

from typing import Any

from jsonschema import Draft202012Validator

from _shared.logs import UserError
from _shared.sheets import did_you_mean


def check_config(config: dict, schema: dict) -> None:
    """Raise `UserError` with one sentence for the first key that does not fit."""
    errors = Draft202012Validator(schema).iter_errors(config)
    for error in sorted(errors, key=lambda e: (list(map(str, e.path)), e.message)):
        raise UserError(f"config: {_sentence(error)}")


def _sentence(error) -> str:
    where = ": ".join(str(part) for part in error.absolute_path)
    prefix = f"{where}: " if where else ""
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = sorted(str(key) for key in error.instance if key not in known)[0]
        return (
            f"{prefix}unknown key '{unknown}'{did_you_mean(unknown, known)}; "
            "config/README.md lists the keys."
        )
    if error.validator == "required":
        missing = sorted(set(error.validator_value) - set(error.instance))[0]
        return f"{prefix}key '{missing}' is missing; config/README.md explains it."
    meaning = error.schema.get("description", "")
    return f"{prefix}{error.message}" + (f"; {meaning}." if meaning else ".")


def canonical(value: Any) -> Any:
    """Return `value` with the keys of every mapping sorted.

    Snakemake compares mappings in `params` with their order, so two orders of the same
    keys would re-run a rule.
    """
    if isinstance(value, dict):
        return {key: canonical(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [canonical(item) for item in value]
    return value
