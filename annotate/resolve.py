"""A frame and the image that it is from -> the source locations, or the reason why there are none.

This is the only place that does arithmetic on addresses: the slide, the byte before a return address, the ends of
symbols. The order of the decisions:

1. the image: the kernel, or the one module that the frame names;
2. the symbol: by name and by the size that kallsyms prints; never by name alone, never the first of several;
3. the address: what the frame's ``PcKind`` says;
4. the line; of several symbols that fit, all must give the same one, or evidence must settle it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from annotate.model import (
    SKIPPED_CALLEE,
    UNKNOWN_CALLEE,
    Callee,
    Frame,
    LinkAddr,
    Location,
    Missing,
    PcKind,
    Resolution,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from annotate.log.context import Facts
    from annotate.model import KernelId, RunAddr, Symbol

Chain = tuple[Location, ...]


class KernelImage(Protocol):
    """One kernel or one module that can be asked. Addresses are as linked."""

    @property
    def source(self) -> str:
        """Where it comes from, for messages."""

    @property
    def is_module(self) -> bool:
        """Whether it is a module (relocatable, sizes may differ at the end of a section)."""

    @property
    def arch(self) -> str:
        """Its architecture as ``uname -m`` nearly has it; empty when it is not known."""

    @property
    def is_partial(self) -> bool:
        """Whether it knows some functions only: what it does not find may exist all the same."""

    def prepare(self, names: Iterable[bytes]) -> None:
        """Say which symbols will be asked for, so that they can be looked up together."""

    def find(self, name: bytes) -> Sequence[Symbol]:
        """Every symbol of that name."""

    def symbol_at(self, address: LinkAddr) -> Symbol | None:
        """The symbol of the code at an address."""

    def chain(self, address: LinkAddr, symbol: Symbol) -> Chain:
        """The locations of an address of ``symbol``, innermost first; rows of other functions are never used."""

    def call_target(self, address: LinkAddr) -> LinkAddr | None:
        """Where the direct call that ends at this return address leads, if it can be told."""


class Absence(NamedTuple):
    """Why there is no image; ``detail`` says what was tried."""

    missing: Missing
    detail: str


class ImageSource(Protocol):
    """The world, as far as resolving needs it."""

    def image_for(self, module: bytes, build_id: bytes, kernel: KernelId) -> KernelImage | Absence:
        """The image of a module (of the kernel itself when ``module`` is empty)."""


class NoMemory:
    """What takes the place of an image source when memory has run out.

    An image that was asked then may be half made, and is not asked again: it could answer wrongly.
    """

    def image_for(self, module: bytes, build_id: bytes, kernel: KernelId) -> KernelImage | Absence:
        """None."""
        return Absence(Missing.NO_TABLE, "not enough memory")


class RunningKernel(Protocol):
    """The kernel that runs here, as far as it can be asked."""

    def name(self, frame: Frame, line: bytes, kernel: KernelId) -> Frame | None:
        """A frame that is a raw address, with its symbol; None unless this boot is certain to have printed ``line``."""


#: Frames of a boot that are asked for its slide: those of another kernel's log would be asked for ever, at 20 ms each.
_ATTEMPTS = 32


class Answer(NamedTuple):
    """What one line's frames resolved to.

    ``is_lasting``: the same text will have the same answer while kernel and slide stay what they are; nothing else in
    the log had a part in it. ``needs_slide``: it may have a better one when the slide becomes known.
    """

    resolutions: list[Resolution]
    callee: Callee
    is_lasting: bool
    needs_slide: bool


class Resolver:
    """Resolves the frames of one log, in order."""

    def __init__(self, images: ImageSource, slide: int | None = None) -> None:
        self._images = images
        self._slide = slide
        self._slides: dict[int, int] = {}  # by boot: printed by the kernel, or from a line with address and symbol
        self._attempts: dict[int, int] = {}  # by boot, to learn its slide
        self._named: dict[tuple[int, RunAddr | None], Frame] = {}  # by boot: addresses in modules

    def prepare(self, frames: Iterable[Frame], kernel: KernelId) -> None:
        """Look the symbols of many frames up together."""
        try:
            self._prepare(frames, kernel)
        except MemoryError:
            self._images = NoMemory()

    def _prepare(self, frames: Iterable[Frame], kernel: KernelId) -> None:
        names: dict[tuple[bytes, bytes], set[bytes]] = {}
        for frame in frames:
            if frame.symbol and not frame.annotated:
                names.setdefault((frame.module, frame.build_id), set()).add(frame.symbol)
        for (module, build_id), symbols in names.items():
            image = self._images.image_for(module, build_id, kernel)
            if not isinstance(image, Absence):
                image.prepare(symbols)

    @property
    def has_memory(self) -> bool:
        """Whether there was enough so far; frames have no line any more otherwise."""
        return not isinstance(self._images, NoMemory)

    def slide_of(self, boot: int) -> int | None:
        """The slide of a boot: the user's word, the kernel's own, or what a line of it shows; None while unknown."""
        return self._slide if self._slide is not None else self._slides.get(boot)

    def set_slide(self, boot: int, slide: int) -> None:
        """The kernel printed its slide."""
        self._slides[boot] = slide

    def learn_slide(self, frame: Frame, facts: Facts) -> bool:
        """Take the slide from an address beside its symbol, the only one of that name and size; whether it could be."""
        if frame.address is None or not frame.symbol or frame.module or self._attempts.get(facts.boot, 0) > _ATTEMPTS:
            return False
        try:
            return self._learn_slide(frame, frame.address, facts)
        except MemoryError:
            self._images = NoMemory()
            return False

    def _learn_slide(self, frame: Frame, address: RunAddr, facts: Facts) -> bool:
        image = self._images.image_for(b"", frame.build_id, facts.kernel)
        if isinstance(image, Absence):
            return False
        self._attempts[facts.boot] = self._attempts.get(facts.boot, 0) + 1
        image.prepare((frame.symbol,))
        symbols = _fitting_symbols(frame, image)
        if isinstance(symbols, Missing) or len(symbols) > 1:
            return False
        slide = address - symbols[0].address - (frame.offset or 0)
        # Kernels are moved up by multiples of 64 KiB at least (x86: 2 MiB); anything else is no address of this symbol.
        if slide < 0 or slide & 0xFFFF:
            return False
        self._slides[facts.boot] = slide
        return True

    def learn_name(self, frame: Frame, facts: Facts) -> bool:
        """The symbol at an address, from the kernel itself; whether the slide of its boot became known."""
        if frame.module:
            self._named[facts.boot, frame.address] = frame
            return False
        return self.learn_slide(frame, facts)

    def resolve(
        self, frames: Sequence[Frame], facts: Facts, callee: Callable[[], LinkAddr | None] | None = None
    ) -> Answer:
        """Answer for the frames of one line; ``callee`` tells, when asked, what the line before it says was called."""
        slide = self.slide_of(facts.boot)
        resolutions = []
        is_lasting, needs_slide = True, False
        said = UNKNOWN_CALLEE
        for number, frame in enumerate(frames):
            evidence = None if number else callee
            named = None if frame.symbol or not self._named else self._named.get((facts.boot, frame.address))
            try:
                resolution, settled, symbols = self._resolve(named or frame, facts.kernel, slide, evidence)
            except MemoryError:
                self._images = NoMemory()
                resolution, settled, symbols = self._resolve(named or frame, facts.kernel, slide, evidence)
            resolutions.append(resolution if named is None else resolution._replace(frame=frame))
            is_lasting = is_lasting and not settled and named is None
            if slide is None and frame.address is not None:
                is_lasting = False
                needs_slide = needs_slide or settled or resolution.missing is Missing.NO_OFFSET
            if not frame.in_trace:
                said = UNKNOWN_CALLEE
            elif frame.reliable:
                said = Callee(symbols[0].address) if len(symbols) == 1 and not frame.module else UNKNOWN_CALLEE
            else:
                said = UNKNOWN_CALLEE if number else SKIPPED_CALLEE
        return Answer(resolutions, said, is_lasting, needs_slide)

    def _resolve(
        self, frame: Frame, kernel: KernelId, slide: int | None, callee: Callable[[], LinkAddr | None] | None
    ) -> tuple[Resolution, bool, Sequence[Symbol]]:
        """The answer for one frame, whether other lines had or may have a part in it, and the symbols it may mean."""
        if frame.annotated:
            return Resolution(frame, (), None), False, ()
        image = self._images.image_for(frame.module, frame.build_id, kernel)
        if isinstance(image, Absence):
            return Resolution(frame, (), image.missing, detail=image.detail), False, ()
        if not frame.symbol:
            return _resolve_raw(frame, image, slide), False, ()
        symbols = _fitting_symbols(frame, image)
        if isinstance(symbols, Missing):
            detail = f"tried: {image.source}" if symbols in (Missing.SIZE_DIFFERS, Missing.NO_TABLE) else ""
            return Resolution(frame, (), symbols, detail=detail), False, ()
        if len(symbols) == 1:
            chain = _locate(frame, image, symbols[0])
            return Resolution(frame, chain, None if chain else Missing.NO_LINE), False, symbols
        answers = [(symbol, _locate(frame, image, symbol)) for symbol in symbols]
        is_settled = False
        if len({chain for _, chain in answers}) > 1:
            is_settled = _may_be_settled(frame, image, symbols)
            answers = _settle(frame, image, slide, callee, answers) if is_settled else answers
        chains = tuple(dict.fromkeys(chain for _, chain in answers))
        symbols = [symbol for symbol, _ in answers]
        if len(chains) > 1:
            return Resolution(frame, (), Missing.AMBIGUOUS, candidates=chains), is_settled, symbols
        if not chains[0]:
            return Resolution(frame, (), Missing.NO_LINE), is_settled, symbols
        return Resolution(frame, chains[0], None), is_settled, symbols


def _may_be_settled(frame: Frame, image: KernelImage, symbols: Sequence[Symbol]) -> bool:
    """Whether other lines may tell which of several functions is meant.

    An entry with a ``?`` need not have called what stands above it.
    """
    if frame.address is not None:
        return not image.is_module
    return (
        frame.reliable
        and frame.pc is PcKind.RETURN
        and any(image.call_target(LinkAddr(symbol.address + (frame.offset or 0))) is not None for symbol in symbols)
    )


def _settle(
    frame: Frame,
    image: KernelImage,
    slide: int | None,
    callee: Callable[[], LinkAddr | None] | None,
    answers: list[tuple[Symbol, Chain]],
) -> list[tuple[Symbol, Chain]]:
    """Keep the candidates that other evidence in the log speaks for; all of them when there is none."""
    if frame.address is not None and slide is not None and not image.is_module:
        there = [answer for answer in answers if answer[0].address + (frame.offset or 0) + slide == frame.address]
        if there:
            return there
    called = callee() if callee is not None and frame.pc is PcKind.RETURN else None
    if called is not None:
        calling = [
            answer
            for answer in answers
            if image.call_target(LinkAddr(answer[0].address + (frame.offset or 0))) == called
        ]
        # Evidence for a candidate without a line would leave the frame bare, and a second run, which no longer
        # sees the callee, would annotate it.
        if any(chain for _, chain in calling):
            return calling
    return answers


def _fitting_symbols(frame: Frame, image: KernelImage) -> Sequence[Symbol] | Missing:
    """The symbols that the frame may mean, or why there is none."""
    named = image.find(frame.symbol)
    if not named and frame.symbol.startswith(b"."):
        # Kernels of the 64-bit PowerPC ELF ABI v1 print the name of a function's code, which has a dot in front.
        named = [symbol._replace(name=frame.symbol) for symbol in image.find(frame.symbol[1:])]
    if not named:
        return Missing.NO_TABLE if image.is_partial else Missing.NO_SYMBOL
    code = [symbol for symbol in named if symbol.is_code] if len(named) > 1 or not named[0].is_code else named
    if not code:
        return Missing.DATA
    if frame.offset is None:
        return code
    if frame.size is None:
        last = frame.offset - (frame.pc is PcKind.RETURN)
        return [symbol for symbol in code if last < symbol.size] or Missing.CORRUPT
    if frame.offset > frame.size:
        return Missing.CORRUPT
    fitting = [symbol for symbol in code if frame.size in symbol.sizes]
    if fitting:
        return fitting
    if image.is_module and len(code) == 1:
        # The loader may have put more behind the last symbol of a section than the file shows (PLTs, trampolines).
        symbol = code[0]
        if symbol.ends_section and frame.offset <= symbol.st_size <= frame.size:
            return [symbol]
    return Missing.SIZE_DIFFERS


#: Machines whose return register holds the address of the call itself, not of what is behind it (SPARC V9, CALL and
#: JMPL: ``%o7`` is the PC of the instruction).
_RETURNS_TO_THE_CALL = frozenset({"sparc", "sparc64"})


def _locate(frame: Frame, image: KernelImage, symbol: Symbol) -> Chain:
    """The chain for a frame, if it means this symbol; empty when there is no line."""
    if frame.pc is PcKind.RETURN and image.arch in _RETURNS_TO_THE_CALL:
        frame = frame._replace(pc=PcKind.EXACT)
    offset = frame.offset or 0  # a name alone stands for the function
    address = LinkAddr(symbol.address + offset)
    size = symbol.size if frame.size is None else frame.size
    if frame.pc is PcKind.EXACT and offset < size:
        chain = _named(image.chain(address, symbol), symbol)
        # An instruction that the compiler gave no line of its own: the call before it is the next best.
        return chain or (_named(image.chain(LinkAddr(address - 1), symbol), symbol) if offset else ())
    if frame.pc is PcKind.ENTRY:
        return _named(image.chain(address, symbol), symbol)
    if offset == 0:
        # A return address at the very start of a function: the call before it, in the symbol before, never returns.
        # (Kernels that look up address - 1 themselves, x86 among them, never print this.)
        return _last_of_previous(image, symbol)
    if offset == size and not frame.reliable:
        # Nearly always a stale pointer to the start of the next function, not a return address at all.
        following = image.symbol_at(symbol.end)
        return _named(image.chain(following.address, following), following) if following is not None else ()
    return _named(image.chain(LinkAddr(address - 1), symbol), symbol)


def _last_of_previous(image: KernelImage, symbol: Symbol) -> Chain:
    address = LinkAddr(symbol.address - 1)
    previous = image.symbol_at(address)
    return _named(image.chain(address, previous), previous) if previous is not None else ()


#: Machines whose kernels run where they are linked: no KASLR, no relocation. (Not among them: x86, mips, 32-bit powerpc
#: (85xx), arm64, riscv, loongarch and s390, which have RANDOMIZE_BASE, and 64-bit powerpc, which can be relocated.)
_NEVER_MOVED = frozenset(
    {
        *("alpha", "arc", "arm", "csky", "m68k", "openrisc", "parisc"),
        *("sh", "sparc", "sparc64", "xtensa"),
    }
)


def _resolve_raw(frame: Frame, image: KernelImage, slide: int | None) -> Resolution:
    """A raw address that stands alone."""
    if slide is None and image.arch in _NEVER_MOVED:
        slide = 0
    if frame.address is None or slide is None:
        return Resolution(frame, (), Missing.NO_OFFSET)
    address = _to_link(frame.address, slide)
    if frame.pc is PcKind.RETURN and image.arch not in _RETURNS_TO_THE_CALL:
        address = LinkAddr(address - 1)
    symbol = image.symbol_at(address)
    if symbol is None:
        return Resolution(frame, (), Missing.NO_TABLE if image.is_partial else Missing.NO_SYMBOL)
    if frame.pc is PcKind.ENTRY:
        address = symbol.address
    chain = _named(image.chain(address, symbol), symbol)
    return Resolution(frame, chain, None if chain else Missing.NO_LINE)


def _to_link(address: RunAddr, slide: int) -> LinkAddr:
    return LinkAddr(address - slide)


def _named(chain: Chain, symbol: Symbol) -> Chain:
    """The outermost function carries the symbol's name: ``foo.cold``, ``foo.isra.0``, as the kernel prints it."""
    if not chain:
        return chain
    name = symbol.name.decode("utf-8", "surrogateescape")
    file, line, _, inlined = chain[-1]
    return (*chain[:-1], Location(file, line, name, inlined))
