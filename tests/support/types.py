"""Types and shapes are checked at run time, once a call.

The hook that checks types puts `jaxtyping.jaxtyped` on every function of Ganvas.  That binds the arguments of each call
and checks them twice, a sixth of the tests' time, so that it can say more of an error; nine in ten calls have no shapes
besides.  To be imported before anything of Ganvas.
"""

from collections.abc import Callable
from functools import partial, wraps
from inspect import isclass, isfunction, isgeneratorfunction
from typing import Any, ForwardRef, Literal, get_args, get_origin

import jaxtyping

original = jaxtyping.jaxtyped


def jaxtyped(function: Any, *, typechecker: Callable[[Any], Any]) -> Any:
    """The function with its types checked, and shapes that have the same name in one call."""
    hints = function.__annotations__.values() if isfunction(function) else ()
    if not isfunction(function) or isgeneratorfunction(function) or any(holds(hint, is_name) for hint in hints):
        return original(function, typechecker=typechecker)
    checked, has_shapes = typechecker(function), any(holds(hint, is_shape) for hint in hints)

    @wraps(function)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        if jaxtyping.config.jaxtyping_disable:
            return function(*arguments, **options)
        if not has_shapes:
            return checked(*arguments, **options)
        with original("context"):
            return checked(*arguments, **options)

    return wrapper


def holds(hint: Any, is_so: Callable[[Any], bool]) -> bool:
    """Whether a type or one of those in it is so."""
    if get_origin(hint) is Literal:
        return False
    parts = hint if isinstance(hint, list) else get_args(hint)
    return is_so(hint) or any(holds(part, is_so) for part in parts)


def is_name(hint: Any) -> bool:
    """Whether a type is the name of one, which may not be there yet."""
    return isinstance(hint, str | ForwardRef)


def is_shape(hint: Any) -> bool:
    return isclass(hint) and issubclass(hint, jaxtyping.AbstractArray)


jaxtyping.jaxtyped = lambda *, typechecker: partial(jaxtyped, typechecker=typechecker)
