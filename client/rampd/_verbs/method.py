"""Makes a method look like its verb, so that `help(Admin.ramp)` shows the verb's text and arguments."""

import functools
import inspect
from collections.abc import Callable
from types import GenericAlias
from typing import Any, get_args, get_type_hints


def as_method_of(verb: Callable[..., object], method: Callable[..., object], returns: type[Any] | None = None) -> None:
    """Gives a method the name, the documentation and, after `self`, the arguments of a verb, for `help()`.

    The return type is that of the verb's result. With `returns` (such as Iterator) it is an iterator of such results.
    """
    functools.update_wrapper(method, verb)
    signature = inspect.signature(verb)
    parameters, documentation = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)], [inspect.getdoc(verb)]
    for parameter in signature.parameters.values():
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            parameters.append(parameter)
            continue
        [shared] = get_args(parameter.annotation)  # a TypedDict
        documentation.append(inspect.getdoc(shared))
        parameters += [
            parameter.replace(name=name, kind=inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind | None)
            for name, kind in get_type_hints(shared).items()
        ]
    method.__doc__ = "\n\n".join(filter(None, documentation))
    result = get_args(signature.return_annotation)[0]
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=parameters,
        return_annotation=result if returns is None else GenericAlias(returns, (result,)),
    )
