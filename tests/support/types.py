"""Types are checked at run time, but shapes only where there are any.

The hook that checks types puts `jaxtyping.jaxtyped` on every function of Ganvas.  That binds the arguments of each call
and checks them twice, so that their shapes agree with each other.  Nine in ten calls are of functions without shapes,
which need the type checker alone: a sixth of the tests' time.  To be imported before anything of Ganvas.
"""

from collections.abc import Callable
from functools import partial, wraps
from inspect import isclass, isfunction, isgeneratorfunction
from typing import Any, ForwardRef, Literal, get_args, get_origin

import jaxtyping

with_shapes = jaxtyping.jaxtyped


def checked(function: Any, *, typechecker: Callable[[Any], Any]) -> Any:
    if (
        not isfunction(function)
        or isgeneratorfunction(function)
        or any(map(may_have_shape, function.__annotations__.values()))
    ):
        return with_shapes(function, typechecker=typechecker)
    plain = typechecker(function)

    @wraps(function)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        return (function if jaxtyping.config.jaxtyping_disable else plain)(*arguments, **options)

    return wrapper


def may_have_shape(hint: Any) -> bool:
    """Whether a type has an array's shape in it, or is a name of we do not know what."""
    if get_origin(hint) is Literal:
        return False
    if isinstance(hint, str | ForwardRef) or (isclass(hint) and issubclass(hint, jaxtyping.AbstractArray)):
        return True
    return any(map(may_have_shape, hint if isinstance(hint, list) else get_args(hint)))


jaxtyping.jaxtyped = lambda *, typechecker: partial(checked, typechecker=typechecker)
