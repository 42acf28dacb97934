"""Looking into the latent space of a trained model: `interpolate`, `traverse`, `manifold`, `arithmetic`."""

from functools import partial
from typing import Annotated

from cyclopts import Parameter

from .. import explore
from ..data import DataOptions
from ..errors import UserError
from ..explore.walks import InterpolationPath
from .common import (
    DEFAULT_DATA_OPTIONS,
    DEFAULT_OUTPUT,
    FLATTEN,
    OutputOptions,
    RunName,
    SourceName,
    load_run,
    save_examples,
)

OptionalSource = Annotated[
    str | None, Parameter(help="where examples come from, as for train; by default what the run was trained on")
]
Label = Annotated[str | None, Parameter(help="class to draw, for a conditional model")]


def interpolate(
    run: RunName,
    data: Annotated[str | None, Parameter(help="walk between examples of this source, not between noise")] = None,
    /,
    *,
    rows: Annotated[int, Parameter(help="how many walks")] = 8,
    columns: Annotated[int, Parameter(help="examples in a walk")] = 10,
    interpolation: Annotated[
        InterpolationPath | None,
        Parameter(help="along a line or an arc; by default spherical between noise, linear between examples"),
    ] = None,
    seed: Annotated[int, Parameter(help="seed of the ends")] = 0,
    label: Label = None,
    options: Annotated[DataOptions, FLATTEN] = DEFAULT_DATA_OPTIONS,
    output: Annotated[OutputOptions, FLATTEN] = DEFAULT_OUTPUT,
) -> None:
    """Walk through the latent space from one example to another."""
    trained = load_run(run)
    walk = partial(
        explore.interpolate,
        trained,
        data,
        options,
        rows=rows,
        columns=columns,
        interpolation=interpolation,
        seed=seed,
        label=label,
    )
    save_examples(walk, trained, "interpolation", output)


def traverse(
    run: RunName,
    data: OptionalSource = None,
    /,
    *,
    rows: Annotated[int, Parameter(help="latent dimensions, at most")] = 10,
    columns: Annotated[int, Parameter(help="steps from -3 to 3")] = 11,
    example: Annotated[int, Parameter(help="index of the example whose code is varied")] = 0,
    options: Annotated[DataOptions, FLATTEN] = DEFAULT_DATA_OPTIONS,
    output: Annotated[OutputOptions, FLATTEN] = DEFAULT_OUTPUT,
) -> None:
    """Change one latent dimension at a time, from -3 to 3, those with the largest KL first.

    An autoencoder has no KL: its dimensions are sorted by the variance of the codes, and the unit is their deviation.
    """
    trained = load_run(run)
    generate = partial(explore.traverse, trained, data, options, rows=rows, columns=columns, example=example)
    save_examples(generate, trained, "traversal", output)


def manifold(
    run: RunName,
    data: OptionalSource = None,
    /,
    *,
    side: Annotated[int, Parameter(help="examples along each side")] = 20,
    show_codes: Annotated[
        bool, Parameter(negative=(), help="show where the codes of examples lie instead, coloured by class")
    ] = False,
    label: Label = None,
    options: Annotated[DataOptions, FLATTEN] = DEFAULT_DATA_OPTIONS,
    output: Annotated[OutputOptions, FLATTEN] = DEFAULT_OUTPUT,
) -> None:
    """Decode a plane of the latent space at the quantiles of the prior.

    With more than two latent dimensions, it is the plane of the two with the largest KL, the others at 0.
    """
    trained = load_run(run)
    if show_codes:
        if label is not None:
            raise UserError(
                f"label={label} says what is decoded, but --show-codes decodes nothing: leave out one of them"
            )
        save_examples(partial(explore.latent_scatter, trained, data=data, options=options), trained, "codes", output)
        return
    generate = partial(explore.manifold, trained, data, options, side=side, label=label)
    save_examples(generate, trained, "manifold", output)


def arithmetic(
    run: RunName,
    data: SourceName,
    /,
    *,
    add: Annotated[str, Parameter(help="class whose mean code is added")],
    subtract: Annotated[str, Parameter(help="class whose mean code is subtracted")],
    on: Annotated[str | None, Parameter(help="class of the examples; by default that of --subtract")] = None,
    rows: Annotated[int, Parameter(help="how many examples")] = 8,
    columns: Annotated[int, Parameter(help="how many strengths")] = 8,
    strength: Annotated[float, Parameter(help="largest strength; 1 is the whole difference")] = 2.0,
    options: Annotated[DataOptions, FLATTEN] = DEFAULT_DATA_OPTIONS,
    output: Annotated[OutputOptions, FLATTEN] = DEFAULT_OUTPUT,
) -> None:
    """Add the difference of two classes' mean codes to examples, more and more of it."""
    trained = load_run(run)
    generate = partial(
        explore.arithmetic,
        trained,
        data,
        add,
        subtract,
        on=on,
        rows=rows,
        columns=columns,
        strength=strength,
        options=options,
    )
    save_examples(generate, trained, "arithmetic", output)
