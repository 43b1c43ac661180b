"""Does the simulation find anything? Plants bugs, one at a time, and tells which seed finds each.

    python -m tests.simulation.hunting [words of a bug's name, or "pool:", or "sending:"]

A bug is planted as its module is imported; the file stays as it is. Every line of the answer holds the first seed that has found
the bug (or None), the seeds within which it should be found, and its name.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import warnings
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .planted_bugs import PlantedBug, planted_bugs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType

PACKAGE = "fastapi_azure_pool"
PACKAGE_FOLDER = Path(__file__).parents[2] / PACKAGE

_RENEWED = (PACKAGE, "tests")


class _ChangedSource(SourceFileLoader):
    """Loads a module with a bug in it."""

    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        """Compile the changed text, whatever is kept compiled of the right one."""
        return compile(self._text, self.path, "exec", dont_inherit=True)


class _Planter(MetaPathFinder):
    """Finds the module with the bug in it, and no other."""

    def __init__(self, bug: PlantedBug) -> None:
        self._file = PACKAGE_FOLDER / bug.module
        self._name = ".".join((PACKAGE, *Path(bug.module).with_suffix("").parts))
        self._text = bug.changed(self._file.read_text(encoding="utf-8"))

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        """Give how the module is loaded."""
        if fullname != self._name:
            return None
        loader = _ChangedSource(fullname, str(self._file), self._text)
        return importlib.util.spec_from_file_location(fullname, self._file, loader=loader)


@contextmanager
def planted(bug: PlantedBug) -> Iterator[Any]:
    """Give the class of the bug's world, imported anew with the bug in what it simulates."""
    planter = _Planter(bug)
    _forget_modules()
    sys.meta_path.insert(0, planter)
    try:
        module = importlib.import_module(f"tests.simulation.{'pool' if bug.world == 'pool' else 'sending'}_world")
        yield next(kind for kind in vars(module).values() if getattr(kind, "name", None) == bug.world)
    finally:
        sys.meta_path.remove(planter)
        _forget_modules()


def hunt(bug: PlantedBug) -> int | None:
    """Give the first seed that finds a bug; None when none does within the bug's seeds."""
    with planted(bug) as world:
        trace: Any = importlib.import_module("tests.simulation.trace")
        for seed in range(bug.seeds):
            try:
                world(seed, trace.Trace(is_kept=False)).run()
            except Exception:  # noqa: BLE001 - whatever it is, it has been found
                return seed
    return None


def _forget_modules() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in _RENEWED]:
        del sys.modules[name]


def main(words: str) -> None:
    """Hunt for the bugs that have these words in their worlds and names."""
    logging.disable()
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None  # A life that was broken off leaves coroutines behind.
    for bug in planted_bugs():
        if words in f"{bug.world}: {bug.name}":
            print(hunt(bug), bug.seeds, bug.name, sep="\t", flush=True)


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]))
