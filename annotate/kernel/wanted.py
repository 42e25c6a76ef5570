"""Which functions a log asks about: what ``lineinfo build --only-frames`` puts into a table.

The log is annotated once, with images that note which symbols they are asked for, so the table has all that an answer
depended on: every symbol of a name that several have, and the neighbours of a function where a frame leads there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from annotate.annotator import annotate_all
from annotate.errors import AnnotateError
from annotate.kernel.images import open_image
from annotate.model import Missing
from annotate.resolve import Absence

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from annotate.debuginfo.image import DebugImage
    from annotate.kernel.build import Source
    from annotate.model import KernelId, LinkAddr, Location, Symbol


def wanted_symbols(logs: Iterable[bytes], sources: Sequence[Source]) -> dict[str, frozenset[LinkAddr]]:
    """The addresses of the symbols that the logs ask for, by the path of the source.

    Where two sources have the same name, both are asked. Files that cannot be used are left to the build, which says
    so.
    """
    wanted: dict[str, set[LinkAddr]] = {}
    paths: dict[str, list[str]] = {}
    for source in sources:
        paths.setdefault(source.name, []).append(source.path)
    most = max(map(len, paths.values()), default=0)
    for log in logs:
        for turn in range(most):
            images = _Images({name: some[turn] for name, some in paths.items() if turn < len(some)}, wanted)
            annotate_all(log, images)
    return {path: frozenset(addresses) for path, addresses in wanted.items()}


class _Images:
    """An ``annotate.resolve.ImageSource`` of one file a name."""

    def __init__(self, paths: dict[str, str], wanted: dict[str, set[LinkAddr]]) -> None:
        self._paths = paths
        self._wanted = wanted
        self._images: dict[str, _Recorder | Absence] = {}

    def image_for(self, module: bytes, build_id: bytes, kernel: KernelId) -> _Recorder | Absence:
        """See ``annotate.resolve.ImageSource``."""
        name = module.decode("utf-8", "surrogateescape").replace("-", "_")
        if name not in self._images:
            self._images[name] = self._open(name)
        return self._images[name]

    def _open(self, name: str) -> _Recorder | Absence:
        path = self._paths.get(name)
        if path is not None:
            try:
                return _Recorder(open_image(path).image, self._wanted.setdefault(path, set()))
            except AnnotateError as error:
                return Absence(Missing.NO_TABLE, str(error))
        return Absence(Missing.NO_MODULE if name else Missing.NO_KERNEL, "")


class _Recorder:
    """An image that notes the symbols it is asked for. Implements ``annotate.resolve.KernelImage``."""

    is_partial = False

    def __init__(self, image: DebugImage, wanted: set[LinkAddr]) -> None:
        self._image = image
        self._wanted = wanted
        self.source = image.source
        self.is_module = image.is_module
        self.arch = image.arch

    def prepare(self, names: Iterable[bytes]) -> None:
        """See ``annotate.resolve.KernelImage``, as for all of the following."""
        self._image.prepare(names)

    def find(self, name: bytes) -> tuple[Symbol, ...]:
        """Note all of the name."""
        found = self._image.find(name)
        self._wanted.update(symbol.address for symbol in found)
        return found

    def symbol_at(self, address: LinkAddr) -> Symbol | None:
        """Note the symbol there."""
        symbol = self._image.symbol_at(address)
        if symbol is not None and symbol.is_code:
            self._wanted.add(symbol.address)
        return symbol

    def chain(self, address: LinkAddr, symbol: Symbol) -> tuple[Location, ...]:
        """Whose symbol was asked for before."""
        return self._image.chain(address, symbol)

    def call_target(self, address: LinkAddr) -> LinkAddr | None:
        """Of a symbol that was asked for before."""
        return self._image.call_target(address)
