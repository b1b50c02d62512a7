"""A model file of CellTypist: a pickle, so whoever wrote it can run any code here."""

from pathlib import Path

from _shared.logs import UserError


def check_model(settings: dict) -> None:
    """Raise `UserError` for a model that is not there, or is not said to be trusted.

    `settings` is the config section `run_celltypist`; without a model it is off.
    """
    model = settings["model"]
    if not model:
        return
    if not Path(model).is_file():
        raise UserError(
            f"config: run_celltypist: model: no such file: {model}; give the path of a "
            "model file (it is relative to the working folder), not the name of a "
            "model: nothing is downloaded."
        )
    if settings["trust_pickle"] is not True:
        raise UserError(
            f"config: run_celltypist: model: {model} is a pickle, and loading it can "
            "run any code; set trust_pickle: true if you know where it comes from."
        )
