"""What is wrong with a configuration, in one sentence that begins with the key.

Enters: pydantic's report and the model that was wanted. Leaves: ``models[2].architecture.kind: should be …``.
"""

import difflib
from collections.abc import Iterator, Sequence
from typing import Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Location = Sequence[int | str]

_LONGEST_SHOWN: Final = 40


def first_problem(error: ValidationError, wanted: type[BaseModel], also: Sequence[str] = ()) -> str:
    """The first thing wrong with what was to be a ``wanted``; its file may have the keys ``also`` besides.

    A key that does not exist comes before one that is missing: the one may be the other, misspelt. A
    ``ValueError`` of a model's own validator is to read ``key: sentence``.
    """
    problem = worst_of(error)
    where, message = key_of(problem["loc"]), problem["msg"]
    match problem["type"]:
        case "extra_forbidden":
            name = str(problem["loc"][-1])
            names = [*_keys(problem["loc"][:-1], wanted), *(also if len(problem["loc"]) == 1 else ())]
            return f"{where}: there is no such key. {_known(name, names)}"
        case "missing":
            return f"{where}: is missing."
        case "value_error":
            sentence = message.removeprefix("Value error, ")
            return f"{where}.{sentence}" if where else sentence
        case _:
            should = message.replace("Input should", "should").replace("String should", "should")
            shown = repr(problem["input"])
            given = f", not {shown}" if len(shown) <= _LONGEST_SHOWN else ""
            return f"{where}: {should}{given}."


def worst_of(error: ValidationError) -> ErrorDetails:
    """The problem to tell first: a key that does not exist before all others."""
    problems = error.errors(include_url=False)
    return next((each for each in problems if each["type"] == "extra_forbidden"), problems[0])


def key_of(location: Location) -> str:
    """``("models", 2, "name")`` as ``models[2].name``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _known(name: str, names: list[str]) -> str:
    """What there is instead."""
    close = difflib.get_close_matches(name, names, n=1)
    return f"Did you mean {close[0]}?" if close else f"There are {', '.join(names)}."


def _keys(location: Location, model: type[BaseModel] | None) -> list[str]:
    """Those of the model that a location leads to."""
    for part in location:
        if isinstance(part, str) and model is not None:
            field = model.model_fields.get(part)
            model = next(_models_in(field.annotation), None) if field else None
    return list(model.model_fields) if model else []


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Models that an annotation names, inside tuples and unions too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
