"""Limit what the messages to a worker can make it do.

Dask's messages hold pickles. A pickle can name any function of Python, and loading it would call it. Here a pickle may
name what a task of overfly consists of. Anything else becomes an object that does nothing, so that a foreign task ends
with an error and the worker goes on.
"""

import io
import pickle
import threading
from collections.abc import Sequence
from typing import Any

from distributed.protocol import pickle as dask_pickle

_state = threading.local()


def load_only(*names: tuple[str, str]) -> None:
    """Limit what the pickles of Dask's messages may name in this process, for good.

    Parameters
    ----------
    *names
        Module and name of each function and class.
    """
    allowed = frozenset(names)

    class Unpickler(pickle.Unpickler):
        """Loads plain data and what is allowed."""

        def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - of any type
            """Return an object by its name."""
            if (module, name) in allowed:
                return super().find_class(module, name)
            return type(f"{module}.{name}", (_Refused,), {})

    def load(data: bytes, *, buffers: Sequence[Any] = ()) -> Any:  # noqa: ANN401 - of any type
        _state.is_loading = True
        try:
            return Unpickler(io.BytesIO(data), buffers=buffers or None).load()
        finally:
            _state.is_loading = False

    dask_pickle.loads = load


class _Refused:
    """What stands for a function or class that is not allowed: it can be loaded, and not be used."""

    def __new__(cls, *_arguments: object, **_choices: object) -> "_Refused":  # noqa: PYI034 - Python 3.10 has no Self
        """Return an object that does nothing while a pickle is loaded.

        Raises
        ------
        PermissionError
            If it is called later, by a task.
        """
        if not getattr(_state, "is_loading", False):
            raise PermissionError(f"a worker of overfly does not run {cls.__name__}")
        return super().__new__(cls)

    def __call__(self, *_arguments: object, **_choices: object) -> "_Refused":
        """Do what `__new__` does."""
        return type(self)()
