"""Public names of a package that are imported when they are first used."""

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LazyName:
    """Where a public name is defined: the module, and the extras of overfly that this module needs."""

    module: str
    extras: tuple[str, ...] = ()


def lazy_names(package: str, names: Mapping[str, LazyName]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and the ``__dir__`` of a package (PEP 562).

    The first use of a name imports its module and puts the object into the package, so Python finds the object there
    from then on. If a package of an extra is missing, the use raises MissingExtraError.

    Parameters
    ----------
    package
        Name of the package.
    names
        The public names.
    """

    def get(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from overfly.runtime.extras import require_extra

        for extra in names[name].extras:
            require_extra(extra)
        value = getattr(importlib.import_module(names[name].module), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted(names)
