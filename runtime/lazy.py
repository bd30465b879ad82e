"""Public names of a package that are imported when they are first used."""

import importlib
from collections.abc import Callable, Mapping, Sequence


def lazy_names(
    package: str, homes: Mapping[str, str], extras: Sequence[str] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and the ``__dir__`` of a package (PEP 562).

    Parameters
    ----------
    package
        Name of the package.
    homes
        Public name to the module that defines it.
    extras
        The extras of overfly that these modules need. If a package of theirs is missing, the first use of a name
        raises MissingExtraError.
    """

    def get(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from overfly.runtime.extras import require_extra

        for extra in extras:
            require_extra(extra)
        return getattr(importlib.import_module(homes[name]), name)

    return get, lambda: sorted(homes)
