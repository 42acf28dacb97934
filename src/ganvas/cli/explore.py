"""Looking into the latent space of a trained model: `interpolate`, `traverse`, `manifold`, `arithmetic`."""

from typing import Annotated

from cyclopts import Parameter

from .. import explore
from ..data import DataOptions
from ..errors import UserError
from ..explore.walks import InterpolationPath, default_columns
from .common import FLAG, PRIOR_HELP, DataFlags, Output, OutputOptions, RunName, SourceName, save_examples

SOURCE_HELP = "where examples come from, as for train; by default what the run was trained on"
OptionalSource = Annotated[str | None, Parameter(help=SOURCE_HELP)]
PATH_HELP = "along a line or an arc; by default spherical between noise, else linear"
Label = Annotated[str | None, Parameter(help="class to draw, for a conditional model")]
CODES_HELP = "show where the codes of examples lie instead, in the colours of their classes"


def interpolate(
    run: RunName,
    data: Annotated[str | None, Parameter(help="walk between examples of this source, not between noise")] = None,
    /,
    *,
    rows: Annotated[int, Parameter(help="how many walks")] = 8,
    columns: Annotated[int | None, Parameter(help="examples in a walk; 10, or 60 of an animation")] = None,
    interpolation: Annotated[InterpolationPath | None, Parameter(help=PATH_HELP)] = None,
    seed: Annotated[int, Parameter(help="seed of the ends")] = 0,
    fitted_prior: Annotated[str | None, Parameter(help=PRIOR_HELP)] = None,
    label: Label = None,
    options: DataFlags = DataOptions(),
    output: Output = OutputOptions(),
) -> None:
    """Walk through the latent space from one example to another; in .gif or .webp, there and back as an animation."""
    save_examples(run, "interpolation", output, lambda trained: explore.interpolate(
        trained, data, options, rows=rows, interpolation=interpolation, seed=seed, label=label,
        columns=default_columns(trained, output.out) if columns is None else columns, fitted_prior=fitted_prior,
    ))  # fmt: skip


def traverse(
    run: RunName,
    data: OptionalSource = None,
    /,
    *,
    rows: Annotated[int, Parameter(help="latent dimensions, at most")] = 10,
    columns: Annotated[int, Parameter(help="steps from -3 to 3")] = 11,
    example: Annotated[int, Parameter(help="index of the example whose code is varied")] = 0,
    options: DataFlags = DataOptions(),
    output: Output = OutputOptions(),
) -> None:
    """Change one latent dimension at a time, from -3 to 3. Those with the largest KL come first.

    An autoencoder has no KL: the variance of its codes sorts the dimensions, and their deviation is the unit.
    """
    save_examples(run, "traversal", output, lambda trained: explore.traverse(
        trained, data, options, rows=rows, columns=columns, example=example,
    ))  # fmt: skip


def manifold(
    run: RunName,
    data: OptionalSource = None,
    /,
    *,
    side: Annotated[int, Parameter(help="examples along each side")] = 20,
    show_codes: Annotated[bool, FLAG, Parameter(help=CODES_HELP)] = False,
    label: Label = None,
    options: DataFlags = DataOptions(),
    output: Output = OutputOptions(),
) -> None:
    """Decode a plane of the latent space at the quantiles of the prior.

    With more than two latent dimensions, the plane is that of the two with the largest KL; all others are 0.
    """
    if not show_codes:
        save_examples(run, "manifold", output, lambda trained: explore.manifold(
            trained, data, options, side=side, label=label,
        ))  # fmt: skip
    elif label is not None:
        raise UserError(f"label={label} says what is decoded, but --show-codes decodes nothing: leave out one of them")
    else:
        save_examples(run, "codes", output, lambda trained: explore.latent_scatter(trained, data, options))


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
    options: DataFlags = DataOptions(),
    output: Output = OutputOptions(),
) -> None:
    """Add the difference of two classes' mean codes to examples, more and more of it."""
    save_examples(run, "arithmetic", output, lambda trained: explore.arithmetic(
        trained, data, add, subtract, on=on, rows=rows, columns=columns, strength=strength, options=options,
    ))  # fmt: skip
