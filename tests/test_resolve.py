"""The rules by which a frame becomes a line, one test a rule, in a world made of dicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fake_world import FakeImage, FakeImages, Question, function, places, sample_logs, variable, world_of

from annotate.annotator import annotate_all
from annotate.log.context import Facts
from annotate.model import UNKNOWN_CALLEE, Frame, KernelId, LinkAddr, Missing, PcKind, Resolution, RunAddr
from annotate.resolve import Resolver as LineResolver

if TYPE_CHECKING:
    from pathlib import Path

    from annotate.model import Symbol
    from annotate.resolve import Chain, ImageSource


class Resolver:
    """Resolves lines of one frame each, as an annotator does: numbered lines in order, those that follow each other
    say to the next what they called, and lines with an address and a symbol teach the slide.
    """

    def __init__(self, images: ImageSource, slide: int | None = None) -> None:
        self.lines = LineResolver(images, slide)
        self._callee = UNKNOWN_CALLEE
        self._number = -1

    def resolve(self, frame: Frame, number: int, facts: Facts) -> Resolution:
        if number != self._number + 1:
            self._callee = UNKNOWN_CALLEE
        self._number = number
        if self.lines.slide_of(facts.boot) is None:
            self.lines.learn_slide(frame, facts)
        answer = self.lines.resolve([frame], facts, lambda: self._callee.address)
        if not answer.callee.is_skipped:
            self._callee = answer.callee
        (resolution,) = answer.resolutions
        return resolution


def _frame(text: str, pc: PcKind = PcKind.RETURN) -> Frame:
    """``name+0x1/0x2 [module build-id]`` as a reliable entry of a trace; changed further with ``_replace``."""
    atom, _, bracket = text.partition(" [")
    symbol, _, numbers = atom.partition("+")
    offset, _, size = numbers.partition("/")
    module, _, build_id = bracket.removesuffix("]").partition(" ")
    return Frame(
        (0, len(atom)),
        len(text),
        symbol.encode(),
        int(offset, 16),
        int(size, 16) if size else None,
        module.encode(),
        build_id.encode(),
        None,
        pc,
        reliable=True,
        in_trace=True,
        annotated=False,
        format="trace_entry",
    )


def _raw(address: int, pc: PcKind = PcKind.RETURN) -> Frame:
    return _frame("+0x0/0x0", pc)._replace(address=RunAddr(address))


def _resolve(image: FakeImage, frame: Frame, slide: int | None = None) -> Resolution:
    return Resolver(FakeImages({("", ""): image}), slide).resolve(frame, 1, Facts())


def _answer(image: FakeImage, frame: Frame) -> list[str]:
    """What a renderer would have to say, as ``file:line in function``."""
    resolution = _resolve(image, frame)
    assert resolution.missing is None
    assert resolution.locations
    return [f"{place.file}:{place.line} in {place.function}" for place in resolution.locations]


def _lines(path: str, size: int, step: int = 4) -> dict[int, Chain]:
    """A row every ``step`` bytes; its line is 100 plus its offset."""
    return {offset: places(f"{path}:{100 + offset}") for offset in range(0, size, step)}


def _image(*symbols: Symbol, calls: dict[int, int] | None = None) -> FakeImage:
    """Every symbol with lines of its own: file ``NAME@ADDRESS.c``."""
    image = FakeImage(calls=calls)
    for symbol in symbols:
        image.add(symbol, _lines(f"{symbol.name.decode()}@{symbol.address:x}.c", symbol.size))
    return image


# Which symbol.


def test_size_decides_between_functions_of_one_name() -> None:
    image = _image(function("show", 0x1000, 0x20), function("show", 0x2000, 0x40), function("show", 0x3000, 0x60))
    assert _answer(image, _frame("show+0x9/0x40")) == ["show@2000.c:108 in show"]


def test_functions_that_give_the_same_line_are_an_answer() -> None:
    image = FakeImage()
    image.add(function("elf_load", 0x1000, 0x40), _lines("fs/binfmt_elf.c", 0x40))
    image.add(function("elf_load", 0x2000, 0x40), _lines("fs/binfmt_elf.c", 0x40))
    assert _answer(image, _frame("elf_load+0x9/0x40")) == ["fs/binfmt_elf.c:108 in elf_load"]


def test_functions_that_give_different_lines_are_ambiguous_and_all_are_named() -> None:
    image = _image(*(function("twin", address, 0x40) for address in (0x3000, 0x1000, 0x2000)))
    resolution = _resolve(image, _frame("twin+0x9/0x40"))
    assert resolution.missing is Missing.AMBIGUOUS
    assert resolution.locations == ()
    assert {chain[0].file for chain in resolution.candidates} == {"twin@1000.c", "twin@2000.c", "twin@3000.c"}
    assert {chain[0].line for chain in resolution.candidates} == {108}


def test_chains_that_differ_only_in_an_outer_call_are_ambiguous() -> None:
    image = FakeImage()
    image.add(function("twin", 0x1000, 0x40), {0: places("inc.h:1 in helper", "a.c:5")})
    image.add(function("twin", 0x2000, 0x40), {0: places("inc.h:1 in helper", "b.c:5")})
    assert _resolve(image, _frame("twin+0x9/0x40")).missing is Missing.AMBIGUOUS


def test_a_raw_address_beside_the_symbol_settles_a_tie() -> None:
    image = _image(function("twin", 0x1000, 0x40), function("twin", 0x2000, 0x40))
    frame = _frame("twin+0x9/0x40")._replace(address=RunAddr(0x2009 + 0x500000))
    assert _resolve(image, frame, 0x500000).locations == places("twin@2000.c:108 in twin")


def test_the_slide_of_the_log_settles_a_tie_and_an_option_overrides_it() -> None:
    image = _image(function("twin", 0x1000, 0x40), function("twin", 0x2000, 0x40))
    images = FakeImages({("", ""): image})
    frame = _frame("twin+0x9/0x40")._replace(address=RunAddr(0x502009))
    facts = Facts()
    resolver = Resolver(images)
    resolver.lines.set_slide(facts.boot, 0x500000)
    assert resolver.resolve(frame, 1, facts).locations == places("twin@2000.c:108 in twin")
    assert Resolver(images, 0x501000).resolve(frame, 1, facts).locations == places("twin@1000.c:108 in twin")


@pytest.mark.parametrize("slide", [None, 0, 0x600000])
def test_an_address_that_fits_no_candidate_settles_nothing(slide: int | None) -> None:
    image = _image(function("twin", 0x1000, 0x40), function("twin", 0x2000, 0x40))
    frame = _frame("twin+0x9/0x40")._replace(address=RunAddr(0x502009))
    assert _resolve(image, frame, slide).missing is Missing.AMBIGUOUS


def test_an_address_settles_no_tie_in_a_module() -> None:
    module = FakeImage(is_module=True)
    for address in (0x1000, 0x2000):
        module.add(function("twin", address, 0x40), _lines(f"{address:x}.c", 0x40))
    frame = _frame("twin+0x9/0x40 [m]")._replace(address=RunAddr(0x2009))
    resolution = Resolver(FakeImages({("m", ""): module}), 0).resolve(frame, 1, Facts())
    assert resolution.missing is Missing.AMBIGUOUS


_CALLING = {0x1009: 0x8000, 0x2009: 0x9000}


def _trace(*frames: tuple[int, Frame]) -> Resolution:
    """The answer for the last of some (line, frame): twin+0x9 calls other() in one copy and callee() in the second."""
    image = _image(
        function("twin", 0x1000, 0x40),
        function("twin", 0x2000, 0x40),
        function("other", 0x8000, 0x40),
        function("callee", 0x9000, 0x40),
        calls=_CALLING,
    )
    resolver = Resolver(FakeImages({("", ""): image}))
    resolutions = [resolver.resolve(frame, number, Facts()) for number, frame in frames]
    return resolutions[-1]


def test_the_function_that_was_called_settles_a_tie() -> None:
    twin = _frame("twin+0x9/0x40")
    assert _trace((1, _frame("callee+0x5/0x40")), (2, twin)).locations == places("twin@2000.c:108 in twin")
    assert _trace((1, _frame("other+0x5/0x40")), (2, twin)).locations == places("twin@1000.c:108 in twin")


def test_unreliable_entries_between_caller_and_callee_are_skipped() -> None:
    stale = _frame("other+0x5/0x40")._replace(reliable=False)
    resolution = _trace((1, _frame("callee+0x5/0x40")), (2, stale), (3, stale), (4, _frame("twin+0x9/0x40")))
    assert resolution.locations == places("twin@2000.c:108 in twin")


def test_a_callee_on_a_line_that_is_not_the_one_before_settles_nothing() -> None:
    assert _trace((1, _frame("callee+0x5/0x40")), (3, _frame("twin+0x9/0x40"))).missing is Missing.AMBIGUOUS


def test_an_unreliable_entry_behind_a_gap_settles_nothing() -> None:
    stale = _frame("other+0x5/0x40")._replace(reliable=False)
    resolution = _trace((1, _frame("callee+0x5/0x40")), (3, stale), (4, _frame("twin+0x9/0x40")))
    assert resolution.missing is Missing.AMBIGUOUS


def test_a_frame_outside_the_trace_settles_nothing() -> None:
    mention = _frame("callee+0x5/0x40")._replace(in_trace=False)
    assert _trace((1, mention), (2, _frame("twin+0x9/0x40"))).missing is Missing.AMBIGUOUS


def test_an_unreliable_callee_settles_nothing() -> None:
    stale = _frame("callee+0x5/0x40")._replace(reliable=False)
    assert _trace((1, stale), (2, _frame("twin+0x9/0x40"))).missing is Missing.AMBIGUOUS


@pytest.mark.parametrize("between", ["gone+0x5/0x40", "callee+0x5/0x48", "module_function+0x5/0x40 [m]"])
def test_a_frame_that_is_not_found_stands_between_caller_and_callee(between: str) -> None:
    resolution = _trace((1, _frame("callee+0x5/0x40")), (2, _frame(between)), (3, _frame("twin+0x9/0x40")))
    assert resolution.missing is Missing.AMBIGUOUS


def test_an_instruction_pointer_is_not_settled_by_what_was_called() -> None:
    twin = _frame("twin+0x9/0x40", PcKind.EXACT)
    assert _trace((1, _frame("callee+0x5/0x40")), (2, twin)).missing is Missing.AMBIGUOUS


def test_what_the_line_before_called_settles_the_first_frame_of_a_line_alone() -> None:
    """The second frame of a line stands behind the first: that is what was called by it, if anything was."""
    image = FakeImage(calls={0x1009: 0x8000, 0x2009: 0x9000})
    for name, address in (("twin", 0x1000), ("twin", 0x2000), ("callee", 0x9000)):
        image.add(function(name, address, 0x40), {0: places(f"{name}@{address:x}.c:1")})
    twin = _frame("twin+0x9/0x40")
    answer = LineResolver(FakeImages({("", ""): image})).resolve([twin, twin], Facts(), lambda: LinkAddr(0x9000))
    assert [resolution.missing for resolution in answer.resolutions] == [None, Missing.AMBIGUOUS]
    assert answer.resolutions[0].locations == places("twin@2000.c:1 in twin")


def test_a_callee_that_nobody_calls_settles_nothing() -> None:
    image = _image(function("twin", 0x1000, 0x40), function("twin", 0x2000, 0x40), function("callee", 0x9000, 0x40))
    resolver = Resolver(FakeImages({("", ""): image}))
    resolver.resolve(_frame("callee+0x5/0x40"), 1, Facts())
    assert resolver.resolve(_frame("twin+0x9/0x40"), 2, Facts()).missing is Missing.AMBIGUOUS


def test_no_symbol_of_that_size_means_another_build() -> None:
    image = _image(function("read", 0x1000, 0x40), function("read", 0x2000, 0x60))
    resolution = _resolve(image, _frame("read+0x9/0x50"))
    assert (resolution.missing, resolution.locations) == (Missing.SIZE_DIFFERS, ())


def test_the_size_of_the_elf_symbol_is_not_the_printed_one() -> None:
    image = FakeImage().add(function("read", 0x1000, 0x40)._replace(st_size=0x3C), _lines("a.c", 0x40))
    assert _resolve(image, _frame("read+0x9/0x3c")).missing is Missing.SIZE_DIFFERS
    assert _answer(image, _frame("read+0x9/0x40")) == ["a.c:108 in read"]


def test_an_unknown_name_has_no_symbol() -> None:
    assert _resolve(_image(function("read", 0x1000, 0x40)), _frame("write+0x9/0x40")).missing is Missing.NO_SYMBOL


def test_a_module_frame_is_looked_up_in_that_module_only() -> None:
    kernel, module = FakeImage(), FakeImage(is_module=True)
    kernel.add(function("init", 0x1000, 0x40), _lines("kernel.c", 0x40))
    module.add(function("init", 0x1000, 0x40), _lines("module.c", 0x40))
    images = FakeImages({("", ""): kernel, ("m", ""): module})
    resolver = Resolver(images)
    facts = Facts(kernel=KernelId("6.1.0"))
    assert resolver.resolve(_frame("init+0x9/0x40 [m 0123ab]"), 1, facts).locations == places("module.c:108 in init")
    assert resolver.resolve(_frame("init+0x9/0x40"), 2, facts).locations == places("kernel.c:108 in init")
    absent = resolver.resolve(_frame("init+0x9/0x40 [n]"), 3, facts)
    assert (absent.missing, absent.detail) == (Missing.NO_MODULE, "tried: the dict")
    assert images.questions == [
        Question(b"m", b"0123ab", "6.1.0"),
        Question(b"", b"", "6.1.0"),
        Question(b"n", b"", "6.1.0"),
    ]


def test_without_a_kernel_nothing_is_looked_up() -> None:
    resolution = Resolver(FakeImages({})).resolve(_frame("init+0x9/0x40"), 1, Facts())
    assert (resolution.missing, resolution.detail) == (Missing.NO_KERNEL, "tried: the dict")


def test_the_last_symbol_of_a_module_may_be_printed_up_to_the_page_end() -> None:
    module = FakeImage(is_module=True)
    module.add(function("oopser_init", 0x1000, 0x51, (0x51, 0x1000)), _lines("main.c", 0x51))
    images = FakeImages({("oopser", ""): module})
    for size in ("0x51", "0x1000"):
        frame = _frame(f"oopser_init+0x4a/{size} [oopser]")
        assert Resolver(images).resolve(frame, 1, Facts()).locations == places("main.c:172 in oopser_init")


def _last_of_section(*, is_module: bool, offset: int = 0x9, size: int = 0x88, copies: int = 1) -> Missing | None:
    """A frame of the last symbol of a section, printed with a size that the file does not explain."""
    image = FakeImage(is_module=is_module)
    for copy in range(copies):
        symbol = function("last", 0x1000 * (copy + 1), 0x40)._replace(ends_section=True)
        image.add(symbol, _lines("main.c", 0x40))
    name = "m" if is_module else ""
    frame = _frame(f"last+{offset:#x}/{size:#x}" + (" [m]" if is_module else ""))
    return Resolver(FakeImages({(name, ""): image})).resolve(frame, 1, Facts()).missing


def test_the_last_symbol_of_a_module_section_is_accepted_when_its_own_size_holds_the_offset() -> None:
    assert _last_of_section(is_module=True) is None


def test_the_last_symbol_of_a_module_section_is_refused_when_anything_else_is_odd() -> None:
    assert _last_of_section(is_module=False) is Missing.SIZE_DIFFERS
    assert _last_of_section(is_module=True, offset=0x41) is Missing.SIZE_DIFFERS
    assert _last_of_section(is_module=True, size=0x38) is Missing.SIZE_DIFFERS
    assert _last_of_section(is_module=True, copies=2) is Missing.SIZE_DIFFERS


def test_a_module_symbol_in_the_middle_of_a_section_must_have_the_printed_size() -> None:
    module = FakeImage(is_module=True).add(function("middle", 0x1000, 0x40), _lines("main.c", 0x40))
    frame = _frame("middle+0x9/0x88 [m]")
    resolution = Resolver(FakeImages({("m", ""): module})).resolve(frame, 1, Facts())
    assert resolution.missing is Missing.SIZE_DIFFERS


@pytest.mark.parametrize("name", ["read.cold", "read.isra.0", "read.constprop.0", "read.llvm.1234", "__pfx_read"])
def test_a_suffix_is_part_of_the_name(name: str) -> None:
    image = _image(function("read", 0x1000, 0x40), function(name, 0x2000, 0x40))
    assert _answer(image, _frame(f"{name}+0x9/0x40")) == [f"{name}@2000.c:108 in {name}"]


def test_data_is_not_code() -> None:
    image = FakeImage().add(variable("__key.0", 0x1000, 0x8), _lines("wrong.c", 0x8))
    assert _resolve(image, _frame("__key.0+0x1/0x8")).missing is Missing.DATA


def test_a_function_is_not_mistaken_for_a_variable_of_its_name_and_size() -> None:
    image = FakeImage()
    image.add(variable("state", 0x1000, 0x40), _lines("wrong.c", 0x40))
    image.add(function("state", 0x2000, 0x40), _lines("right.c", 0x40))
    assert _answer(image, _frame("state+0x9/0x40")) == ["right.c:108 in state"]


def test_without_a_printed_size_every_function_that_is_long_enough_counts() -> None:
    image = _image(function("twin", 0x1000, 0x20), function("twin", 0x2000, 0x40))
    assert _answer(image, _frame("twin+0x29")) == ["twin@2000.c:140 in twin"]
    assert _resolve(image, _frame("twin+0x9")).missing is Missing.AMBIGUOUS
    assert _resolve(image, _frame("twin+0x49")).missing is Missing.CORRUPT


def test_without_a_printed_size_an_address_behind_the_end_is_a_call_that_never_returns() -> None:
    image = _image(function("read", 0x1000, 0x40))
    assert _answer(image, _frame("read+0x40")) == ["read@1000.c:160 in read"]
    assert _resolve(image, _frame("read+0x40", PcKind.EXACT)).missing is Missing.CORRUPT


def test_without_a_printed_size_functions_that_agree_are_an_answer() -> None:
    image = FakeImage()
    image.add(function("elf_load", 0x1000, 0x40), _lines("fs/binfmt_elf.c", 0x40))
    image.add(function("elf_load", 0x2000, 0x80), _lines("fs/binfmt_elf.c", 0x40))
    assert _answer(image, _frame("elf_load+0x9")) == ["fs/binfmt_elf.c:108 in elf_load"]


def _name(name: str) -> Frame:
    """A name alone."""
    return _frame(f"{name}+0x0", PcKind.ENTRY)._replace(offset=None, in_trace=False)


def test_a_name_alone_is_the_functions_first_line() -> None:
    assert _answer(_plain(), _name("read")) == ["read@1000.c:100 in read"]


def test_functions_of_a_name_alone_must_agree() -> None:
    image = _image(function("twin", 0x1000, 0x20), function("twin", 0x2000, 0x40))
    resolution = _resolve(image, _name("twin"))
    assert resolution.missing is Missing.AMBIGUOUS
    assert [chain[0].file for chain in resolution.candidates] == ["twin@1000.c", "twin@2000.c"]
    same = FakeImage()
    same.add(function("twin", 0x1000, 0x40), _lines("a.h", 0x40)).add(
        function("twin", 0x2000, 0x80), _lines("a.h", 0x40)
    )
    assert _answer(same, _name("twin")) == ["a.h:100 in twin"]


def test_the_address_beside_a_name_alone_settles_a_tie() -> None:
    image = _image(function("twin", 0x1000, 0x40), function("twin", 0x2000, 0x40))
    frame = _name("twin")._replace(address=RunAddr(0x2000 + 0x500000))
    assert _resolve(image, frame, 0x500000).locations == places("twin@2000.c:100 in twin")


def test_a_name_alone_of_a_variable_or_of_nothing_has_no_line() -> None:
    image = FakeImage().add(variable("state", 0x1000, 0x8), _lines("wrong.c", 0x8))
    assert _resolve(image, _name("state")).missing is Missing.DATA
    assert _resolve(image, _name("prep_new_page")).missing is Missing.NO_SYMBOL


@pytest.mark.parametrize("name", ["<rnull::NullBlkModule as kernel::InPlaceModule>::init", "rnull::init"])
def test_a_demangled_name_is_never_the_function_of_its_last_part(name: str) -> None:
    image = _image(function("init", 0x1000, 0xC30))
    assert _resolve(image, _frame(f"{name}+0x904/0xc30")._replace(symbol=name.encode())).missing is Missing.NO_SYMBOL


# Which address.


def _plain() -> FakeImage:
    return _image(function("before", 0xFC0, 0x40), function("read", 0x1000, 0x40), function("after", 0x1040, 0x40))


def test_a_return_address_is_looked_up_one_byte_earlier() -> None:
    assert _answer(_plain(), _frame("read+0x8/0x40")) == ["read@1000.c:104 in read"]
    assert _answer(_plain(), _frame("read+0x9/0x40")) == ["read@1000.c:108 in read"]


def test_on_sparc_a_return_address_is_that_of_the_call() -> None:
    image = _plain()
    image.arch = "sparc64"
    assert _answer(image, _frame("read+0x8/0x40")) == ["read@1000.c:108 in read"]


def test_an_instruction_pointer_is_looked_up_as_it_is() -> None:
    assert _answer(_plain(), _frame("read+0x8/0x40", PcKind.EXACT)) == ["read@1000.c:108 in read"]
    assert _answer(_plain(), _frame("read+0x0/0x40", PcKind.EXACT)) == ["read@1000.c:100 in read"]


def test_an_instruction_pointer_without_a_line_falls_back_to_the_byte_before() -> None:
    image = FakeImage().add(function("read", 0x1000, 0x40), {0: places("a.c:1"), 8: (), 16: places("a.c:3")})
    assert _answer(image, _frame("read+0x8/0x40", PcKind.EXACT)) == ["a.c:1 in read"]
    assert _resolve(image, _frame("read+0x9/0x40", PcKind.EXACT)).missing is Missing.NO_LINE


def test_an_instruction_pointer_at_the_start_does_not_fall_back_to_the_function_before() -> None:
    image = _image(function("before", 0xFC0, 0x40)).add(function("read", 0x1000, 0x40), {0: (), 4: places("a.c:1")})
    assert _resolve(image, _frame("read+0x0/0x40", PcKind.EXACT)).missing is Missing.NO_LINE


def test_a_named_function_is_its_first_line() -> None:
    assert _answer(_plain(), _frame("read+0x0/0x40", PcKind.ENTRY)) == ["read@1000.c:100 in read"]


def test_a_function_pointer_with_an_offset_is_looked_up_as_it_is() -> None:
    """It is no return address: nothing was called in front of it."""
    answers = [_answer(_plain(), _frame(f"read+{offset:#x}/0x40", PcKind.ENTRY)) for offset in (7, 8, 9)]
    assert answers == [[f"read@1000.c:{line} in read"] for line in (104, 108, 108)]  # a row each four bytes


def test_a_return_address_at_the_start_of_a_function_is_the_last_line_of_the_one_before() -> None:
    assert _answer(_plain(), _frame("read+0x0/0x40")) == ["before@fc0.c:160 in before"]


def test_a_return_address_at_the_start_of_the_first_function_has_no_line() -> None:
    assert _resolve(_plain(), _frame("before+0x0/0x40")).missing is Missing.NO_LINE


def test_a_reliable_return_address_at_the_end_is_the_call_that_never_returns() -> None:
    assert _answer(_plain(), _frame("read+0x40/0x40")) == ["read@1000.c:160 in read"]


def test_an_unreliable_address_at_the_end_is_the_start_of_the_next_function() -> None:
    stale = _frame("read+0x40/0x40")._replace(reliable=False)
    assert _answer(_plain(), stale) == ["after@1040.c:100 in after"]


def test_an_unreliable_address_at_the_end_of_the_last_function_has_no_line() -> None:
    stale = _frame("after+0x40/0x40")._replace(reliable=False)
    assert _resolve(_plain(), stale).missing is Missing.NO_LINE


@pytest.mark.parametrize("pc", list(PcKind))
def test_an_offset_behind_the_end_is_corrupt(pc: PcKind) -> None:
    assert _resolve(_plain(), _frame("read+0x41/0x40", pc)).missing is Missing.CORRUPT


def test_a_function_without_lines_has_no_line() -> None:
    image = FakeImage().add(function("bare", 0x1000, 0x40), {})
    for pc in PcKind:
        resolution = _resolve(image, _frame("bare+0x4/0x40", pc))
        assert (resolution.missing, resolution.locations) == (Missing.NO_LINE, ())


def test_the_outermost_location_carries_the_printed_name() -> None:
    chain = places("inc.h:1 in helper", "inc.h:9 in caller", "a.c:5 in read")
    image = FakeImage().add(function("read.isra.0", 0x1000, 0x40), {0: chain})
    assert _answer(image, _frame("read.isra.0+0x9/0x40")) == [
        "inc.h:1 in helper",
        "inc.h:9 in caller",
        "a.c:5 in read.isra.0",
    ]


def test_a_frame_that_is_annotated_already_is_neither_answered_nor_missed() -> None:
    images = FakeImages({})
    resolution = Resolver(images).resolve(_frame("read+0x9/0x40")._replace(annotated=True), 1, Facts())
    assert (resolution.locations, resolution.missing) == ((), None)
    assert images.questions == []


# Raw addresses.

_SLIDE = 0x1C000000


def test_a_raw_return_address_is_moved_back_by_the_slide_and_one_byte() -> None:
    assert _resolve(_plain(), _raw(0x1008 + _SLIDE), _SLIDE).locations == places("read@1000.c:104 in read")


def test_a_raw_return_address_at_the_start_of_a_function_belongs_to_the_one_before() -> None:
    assert _resolve(_plain(), _raw(0x1000 + _SLIDE), _SLIDE).locations == places("before@fc0.c:160 in before")


def test_a_raw_instruction_pointer_is_looked_up_as_it_is() -> None:
    resolution = _resolve(_plain(), _raw(0x1008 + _SLIDE, PcKind.EXACT), _SLIDE)
    assert resolution.locations == places("read@1000.c:108 in read")


def test_a_raw_address_of_a_kernel_that_was_not_moved_is_looked_up_as_it_is() -> None:
    assert _resolve(_plain(), _raw(0x1008), 0).locations == places("read@1000.c:104 in read")


def test_a_raw_address_without_a_slide_is_not_guessed() -> None:
    assert _resolve(_plain(), _raw(0x1008)).missing is Missing.NO_OFFSET


@pytest.mark.parametrize("address", [0x100, 0x1081, 0xFFFFFFFFFFFF])
def test_a_raw_address_outside_all_code_has_no_symbol(address: int) -> None:
    assert _resolve(_plain(), _raw(address + _SLIDE), _SLIDE).missing is Missing.NO_SYMBOL


def test_a_raw_address_in_a_function_that_was_entered_is_its_first_line() -> None:
    resolution = _resolve(_plain(), _raw(0x1008 + _SLIDE, PcKind.ENTRY), _SLIDE)
    assert resolution.locations == places("read@1000.c:100 in read")


@pytest.mark.parametrize("arch", ["arm", "m68k", "openrisc", "xtensa", "csky", "sh", "arc", "parisc", "alpha", "sparc"])
def test_a_kernel_that_is_never_moved_needs_no_slide(arch: str) -> None:
    image = _plain()
    image.arch = arch
    assert _resolve(image, _raw(0x1008, PcKind.EXACT)).locations == places("read@1000.c:108 in read")


@pytest.mark.parametrize(
    "arch", ["i386", "x86_64", "mips", "powerpc", "powerpc64", "arm64", "riscv", "s390", "loongarch", ""]
)
def test_a_kernel_that_may_have_been_moved_needs_one(arch: str) -> None:
    image = _plain()
    image.arch = arch
    assert _resolve(image, _raw(0x1008, PcKind.EXACT)).missing is Missing.NO_OFFSET


def _learning(*symbols: Symbol) -> tuple[Resolver, Facts]:
    image = _image(*symbols, function("before", 0xFC0, 0x40), function("read", 0x1000, 0x40))
    module = FakeImage(is_module=True).add(function("load", 0x1000, 0x40), _lines("module.c", 0x40))
    return Resolver(FakeImages({("", ""): image, ("m", ""): module})), Facts()


def _beside(text: str, address: int) -> Frame:
    return _frame(text)._replace(address=RunAddr(address))


def test_a_line_with_an_address_and_its_symbol_teaches_the_slide_of_its_boot() -> None:
    resolver, facts = _learning()
    raw = _raw(0x1008 + _SLIDE)
    assert resolver.resolve(raw, 1, facts).missing is Missing.NO_OFFSET
    resolver.resolve(_beside("before+0x5/0x40", 0xFC5 + _SLIDE), 2, facts)
    assert resolver.resolve(raw, 3, facts).locations == places("read@1000.c:104 in read")
    facts = Facts(boot=1)
    assert resolver.resolve(raw, 4, facts).missing is Missing.NO_OFFSET


def test_the_kernels_own_word_on_its_slide_outweighs_what_a_line_teaches() -> None:
    resolver, facts = _learning()
    resolver.resolve(_beside("before+0x5/0x40", 0xFC5 + 2 * _SLIDE), 1, facts)
    resolver.lines.set_slide(facts.boot, _SLIDE)
    resolution = resolver.resolve(_raw(0x1008 + _SLIDE), 2, facts)
    assert resolution.locations == places("read@1000.c:104 in read")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("before+0x5/0x40", 0xFC6 + _SLIDE),  # moved by something else than whole pages
        ("before+0x5/0x48", 0xFC5 + _SLIDE),  # of another build
        ("twin+0x5/0x40", 0x5005 + _SLIDE),  # one of two
        ("load+0x5/0x40 [m]", 0x1005 + _SLIDE),  # modules lie where they like
    ],
)
def test_a_line_that_proves_nothing_teaches_no_slide(text: str, address: int) -> None:
    resolver, facts = _learning(function("twin", 0x5000, 0x40), function("twin", 0x6000, 0x40))
    resolver.resolve(_beside(text, address), 1, facts)
    assert resolver.resolve(_raw(0x1008 + _SLIDE), 2, facts).missing is Missing.NO_OFFSET


# All of it.


def test_names_are_looked_up_together_and_once_an_image() -> None:
    kernel, module = FakeImage(), FakeImage(is_module=True)
    frames = [_frame(text) for text in ("a+0x1/0x2", "b+0x1/0x2", "a+0x1/0x2", "c+0x1/0x2 [m]")]
    frames.append(_frame("d+0x1/0x2")._replace(annotated=True))
    frames.append(_raw(0x1000))
    LineResolver(FakeImages({("", ""): kernel, ("m", ""): module})).prepare(frames, KernelId())
    assert kernel.prepared == [frozenset({b"a", b"b"})]
    assert module.prepared == [frozenset({b"c"})]


@pytest.mark.parametrize("log", sample_logs(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_frame_of_a_sample_log_has_either_locations_or_a_reason(log: Path) -> None:
    data = log.read_bytes()
    resolutions = [answer for line in annotate_all(data, world_of(data)) for answer in line.resolutions]
    assert len([answer for answer in resolutions if answer.locations]) >= 5
    for answer in resolutions:
        assert bool(answer.locations) is (answer.missing is None)
        assert bool(answer.candidates) is (answer.missing is Missing.AMBIGUOUS)
        assert len(answer.candidates) != 1
