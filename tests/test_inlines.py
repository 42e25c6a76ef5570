from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import dwarf_writer as w
import pytest
from dwarf_writer import (
    COPY,
    END_SEQUENCE,
    Attribute,
    Entry,
    Format,
    LineSpec,
    To,
    UnitSpec,
    advance_line,
    advance_pc,
    aranges,
    debug_file,
    debug_image,
    debug_ranges,
    debug_sections,
    line_program,
    set_address,
    uleb,
    write_units,
)
from elf_writer import SymbolSpec

from annotate.debuginfo.elf import ElfFile
from annotate.debuginfo.unitindex import UnitIndex
from annotate.limits import MAX_DEPTH
from annotate.model import LinkAddr

if TYPE_CHECKING:
    from annotate.debuginfo.image import DebugImage

START, END = 0x1000, 0x2000
V4, V5 = Format("<", 4), Format("<", 5)

#: (function, file, line, inlined), innermost first.
Chain = list[tuple[str, str, int, bool]]


def lines(form: Format, directory: int = 0) -> bytes:
    """A row every 16 bytes; line 1 at START, 2 at START + 16, ... The files lie in a directory of a number."""
    code = set_address(START, form) + (COPY + advance_pc(16) + advance_line(1)) * ((END - START) // 16) + END_SEQUENCE
    names = ("fs/a.c", "fs/h.h") if form.version < 5 else ("fs/a.c", "fs/a.c", "fs/h.h")
    directories = ("one", "two") if form.version < 5 else ("/linux", "one", "two")
    return line_program(LineSpec(code, form, directories, [(name, directory) for name in names]))


def image_of(
    children: list[Entry],
    *,
    form: Format = V5,
    language: int | None = w.C11,
    others: tuple[UnitSpec, ...] = (),
    ranges: bytes = b"",
    first_code: int = 1,
    directory: int = 0,
) -> DebugImage:
    """An image of one unit that spans START to END, with ``children`` below its root."""
    offset_form = w.SEC_OFFSET if form.version >= 4 else w.DATA4
    root: list[Attribute] = [
        (w.NAME, w.STRING, b"fs/a.c"),
        (w.COMP_DIR, w.STRING, b"/linux"),
        (w.LOW_PC, w.ADDR, START),
        (w.HIGH_PC, w.DATA4 if form.version >= 4 else w.ADDR, END - START if form.version >= 4 else END),
        (w.STMT_LIST, offset_form, 0),
    ]
    if language is not None:
        root.append((w.LANGUAGE, w.DATA1, language))
    units = [UnitSpec(Entry(w.COMPILE_UNIT, root, children), form, first_code=first_code), *others]
    info, abbrev, _ = write_units(units)
    sections = {
        "info": info,
        "abbrev": abbrev,
        "line": lines(form, directory),
        "aranges": aranges(0, [(START, END)], form),
    }
    return debug_image(sections | ({"ranges" if form.version < 5 else "rnglists": ranges} if ranges else {}))


def chain_at(image: DebugImage, address: int) -> Chain:
    (symbol,) = image.find(b"func")
    return [
        (location.function, location.file, location.line, location.inlined)
        for location in image.chain(LinkAddr(address), symbol)
    ]


def names_at(image: DebugImage, address: int) -> list[str]:
    return [function for function, _, _, _ in chain_at(image, address)]


def code(low: int, high: int, form: Format = V5) -> list[Attribute]:
    if form.version < 4:
        return [(w.LOW_PC, w.ADDR, low), (w.HIGH_PC, w.ADDR, high)]
    return [(w.LOW_PC, w.ADDR, low), (w.HIGH_PC, w.DATA4, high - low)]


def function(name: str, low: int, high: int, children: list[Entry] | None = None, label: str = "") -> Entry:
    return Entry(w.SUBPROGRAM, [(w.NAME, w.STRING, name.encode()), *code(low, high)], children, label)


def abstract(name: str) -> Entry:
    return Entry(w.SUBPROGRAM, [(w.NAME, w.STRING, name.encode()), (w.INLINE, w.DATA1, 1)], None, name)


def inlined(
    origin: str,
    low: int,
    high: int,
    line: int,
    children: list[Entry] | None = None,
    extra: list[Attribute] | None = None,
) -> Entry:
    call: list[Attribute] = [(w.CALL_FILE, w.DATA1, 2), (w.CALL_LINE, w.DATA2, line)]
    return Entry(w.INLINED, [(w.ORIGIN, w.REF4, To(origin)), *code(low, high), *call, *(extra or [])], children)


def variable(name: bytes = b"v") -> Entry:
    return Entry(0x34, [(w.NAME, w.STRING, name)])


HELPERS = [abstract("inner"), abstract("middle"), abstract("other")]


# --- chains ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [Format("<", 2), Format("<", 3), V4, V5], ids=str)
def test_each_level_has_the_line_at_which_the_next_inner_one_was_inlined(form: Format) -> None:
    inner = Entry(
        w.INLINED,
        [
            (w.ORIGIN, w.REF4, To("inner")),
            *code(0x1020, 0x1030, form),
            (w.CALL_FILE, w.DATA1, 1),
            (w.CALL_LINE, w.DATA2, 900),
        ],
    )
    middle = Entry(
        w.INLINED,
        [
            (w.ORIGIN, w.REF4, To("middle")),
            *code(0x1010, 0x1040, form),
            (w.CALL_FILE, w.DATA1, 2),
            (w.CALL_LINE, w.DATA1, 77),
        ],
        [variable(), inner, variable()],
    )
    outer = Entry(w.SUBPROGRAM, [(w.NAME, w.STRING, b"outer"), *code(0x1000, 0x1100, form)], [variable(), middle])
    image = image_of([*HELPERS, outer], form=form)
    assert chain_at(image, 0x1000) == [("outer", "fs/a.c", 1, False)]
    assert chain_at(image, 0x1010) == [("middle", "fs/a.c", 2, True), ("outer", "fs/h.h", 77, False)]
    assert chain_at(image, 0x1025) == [
        ("inner", "fs/a.c", 3, True),
        ("middle", "fs/a.c", 900, True),
        ("outer", "fs/h.h", 77, False),
    ]
    assert names_at(image, 0x1030) == ["middle", "outer"]
    assert names_at(image, 0x1040) == ["outer"]
    assert names_at(image, 0x1100) == [""]


@pytest.mark.parametrize("line", [0, 1, 2, 63, 64, 300])
def test_file_and_line_of_a_call_may_stand_in_the_abbreviation(line: int) -> None:
    """DW_FORM_implicit_const, as gcc writes what all calls of one shape have in common."""
    call: list[Attribute] = [(w.CALL_FILE, w.IMPLICIT_CONST, 2), (w.CALL_LINE, w.IMPLICIT_CONST, line)]
    inner = Entry(w.INLINED, [(w.ORIGIN, w.REF4, To("inner")), *code(0x1020, 0x1030), *call])
    image = image_of([*HELPERS, function("outer", 0x1000, 0x1100, [inner])])
    assert chain_at(image, 0x1020) == [("inner", "fs/a.c", 3, True), ("outer", "fs/h.h", line, False)]


@pytest.mark.parametrize(("directory", "folder"), [(0, ""), (1, "/linux/one/"), (2, "/linux/two/")])
@pytest.mark.parametrize("form", [V4, V5], ids=str)
def test_a_file_lies_in_the_directory_of_its_number_and_0_is_that_of_the_unit(
    form: Format, directory: int, folder: str
) -> None:
    image = image_of([function("outer", 0x1000, 0x1100)], form=form, directory=directory)
    assert chain_at(image, 0x1000) == [("outer", f"{folder}fs/a.c", 1, False)]


def test_an_address_in_no_function_has_its_row_and_no_name() -> None:
    image = image_of([function("first", 0x1000, 0x1010)])
    assert chain_at(image, 0x1018) == [("", "fs/a.c", 2, False)]


def test_lexical_blocks_pass_the_search_on_whether_they_have_ranges_or_not() -> None:
    with_ranges = Entry(w.LEXICAL_BLOCK, code(0x1010, 0x1040), [inlined("inner", 0x1020, 0x1030, 5)])
    without = Entry(
        w.LEXICAL_BLOCK, [], [variable(), Entry(w.LEXICAL_BLOCK, [], [inlined("middle", 0x1050, 0x1060, 6)])]
    )
    elsewhere = Entry(w.LEXICAL_BLOCK, code(0x1F00, 0x1F10), [inlined("other", 0x1070, 0x1080, 7)])
    empty = Entry(w.LEXICAL_BLOCK, code(0x1010, 0x1040), None)
    image = image_of([*HELPERS, function("outer", 0x1000, 0x1100, [empty, with_ranges, without, elsewhere])])
    assert names_at(image, 0x1020) == ["inner", "outer"]
    assert names_at(image, 0x1050) == ["middle", "outer"]
    assert names_at(image, 0x1070) == ["other", "outer"]
    assert names_at(image, 0x1018) == ["outer"]


def test_a_block_inside_an_inlined_call_is_searched_and_what_follows_the_call_is_not() -> None:
    block = Entry(w.LEXICAL_BLOCK, [], [inlined("inner", 0x1020, 0x1028, 5)])
    first = inlined("middle", 0x1010, 0x1030, 4, [block, inlined("other", 0x1028, 0x1030, 6)])
    image = image_of([*HELPERS, function("outer", 0x1000, 0x1100, [first, inlined("other", 0x1040, 0x1050, 8)])])
    assert names_at(image, 0x1020) == ["inner", "middle", "outer"]
    assert names_at(image, 0x1028) == ["other", "middle", "outer"]
    assert chain_at(image, 0x1040)[1] == ("outer", "fs/h.h", 8, False)


def test_of_two_calls_that_both_hold_an_address_one_answers_and_they_are_not_stacked() -> None:
    both = [inlined("middle", 0x1010, 0x1030, 4, [variable()]), inlined("other", 0x1020, 0x1040, 6, [variable()])]
    image = image_of([*HELPERS, function("outer", 0x1000, 0x1100, both)])
    assert names_at(image, 0x1024) in (["middle", "outer"], ["other", "outer"])
    within = [inlined("inner", 0x1010, 0x1030, 4), inlined("other", 0x1010, 0x1030, 6)]
    nested = [Entry(w.LEXICAL_BLOCK, [], [inlined("middle", 0x1010, 0x1030, 4, within)]), both[1]]
    image = image_of([*HELPERS, function("outer", 0x1000, 0x1100, nested)])
    assert names_at(image, 0x1024) in (["inner", "middle", "outer"], ["other", "middle", "outer"])


SIBLINGS: dict[str, list[Attribute]] = {
    "none": [],
    "ref4 in a fixed place": [(w.SIBLING, w.REF4, To("behind"))],
    "ref4 behind a string": [(w.LINKAGE_NAME, w.STRING, b"text"), (w.SIBLING, w.REF4, To("behind"))],
    "ref_udata": [(w.SIBLING, w.REF_UDATA, To("behind"))],
    "ref2": [(w.SIBLING, w.REF2, To("behind"))],
    "ref8": [(w.SIBLING, w.REF8, To("behind"))],
}


@pytest.mark.parametrize("extra", SIBLINGS.values(), ids=SIBLINGS.keys())
def test_calls_and_functions_that_do_not_hold_the_address_are_stepped_over(extra: list[Attribute]) -> None:
    children = [
        variable(b"x" * 300),
        Entry(w.LEXICAL_BLOCK, [], [variable()]),
        inlined("other", 0x1010, 0x1020, 3, [variable()]),
    ]
    skipped = inlined("middle", 0x1010, 0x1020, 4, children, extra)
    taken = inlined("inner", 0x1030, 0x1040, 5)._replace(label="behind")
    image = image_of([*HELPERS, function("outer", 0x1000, 0x1100, [skipped, taken])])
    assert names_at(image, 0x1034) == ["inner", "outer"]
    # The same for entries of the top level.
    first = Entry(
        w.STRUCTURE, extra, [Entry(w.MEMBER, [(w.NAME, w.STRING, b"m" * 300)]), Entry(w.STRUCTURE, [], [variable()])]
    )
    image = image_of([first, function("found", 0x1000, 0x1100, label="behind")])
    assert names_at(image, 0x1034) == ["found"]


def test_codes_of_more_than_one_byte_are_read_everywhere() -> None:
    for first_code in (0x7E, 0x7F, 0x80, 0x4000, 0x1FFFFF):
        nested = inlined("middle", 0x1010, 0x1030, 4, [variable(), inlined("inner", 0x1020, 0x1030, 5)])
        skipped = inlined("other", 0x1050, 0x1060, 9, [variable(), Entry(w.LEXICAL_BLOCK, [], [variable()])])
        types = [
            Entry(w.BASE_TYPE, [(0x0B, w.DATA1, 4)]),
            Entry(w.STRUCTURE, [], [Entry(w.MEMBER, [(0x0B, w.DATA1, 4)])]),
        ]
        image = image_of(
            [*types, *HELPERS, *types, function("outer", 0x1000, 0x1100, [skipped, nested])], first_code=first_code
        )
        assert names_at(image, 0x1024) == ["inner", "middle", "outer"], first_code


def test_a_cold_part_is_a_second_range_of_the_function_and_of_the_calls_in_it() -> None:
    for form in (V4, V5):
        if form.version == 4:
            table = (
                bytes(16)
                + debug_ranges([(0x0, 0x80), (0x800, 0x840)], form)
                + debug_ranges([(0x10, 0x20), (0x810, 0x820)], form)
            )
            places = (16, 16 + 48)
        else:
            first = b"\x04" + uleb(0) + uleb(0x80) + b"\x07" + form.address(0x1800) + uleb(0x40) + b"\0"
            second = b"\x06" + form.address(0x1010) + form.address(0x1020) + b"\x04" + uleb(0x810) + uleb(0x820) + b"\0"
            table = bytes(12) + first + second
            places = (12, 12 + len(first))
        call = Entry(
            w.INLINED,
            [
                (w.ORIGIN, w.REF4, To("inner")),
                (w.RANGES, w.SEC_OFFSET, places[1]),
                (w.CALL_FILE, w.DATA1, 2),
                (w.CALL_LINE, w.DATA1, 9),
            ],
        )
        split = Entry(w.SUBPROGRAM, [(w.NAME, w.STRING, b"split"), (w.RANGES, w.SEC_OFFSET, places[0])], [call])
        image = image_of([*HELPERS, split, function("between", 0x1080, 0x1800)], form=form, ranges=table)
        expected = {0x1000: ["split"], 0x101F: ["inner", "split"], 0x107F: ["split"], 0x1080: ["between"],
                    0x17FF: ["between"], 0x1800: ["split"], 0x1810: ["inner", "split"], 0x1840: [""]}  # fmt: skip
        assert {address: names_at(image, address) for address in expected} == expected


def test_empty_ranges_hold_nothing() -> None:
    empty = [inlined("inner", 0x1020, 0x1020, 5), inlined("other", 0, 0, 5)]
    image = image_of([*HELPERS, function("empty", 0x1020, 0x1020), function("outer", 0x1000, 0x1100, empty)])
    assert names_at(image, 0x1020) == ["outer"]


def test_a_function_within_anothers_range_is_the_one_that_answers_there() -> None:
    image = image_of([function("outer", 0x1000, 0x1100), function("alias", 0x1010, 0x1020)])
    asked = (0x1000, 0x1010, 0x1020, 0x10F0)
    assert [names_at(image, address) for address in asked] == [["outer"], ["alias"], ["outer"], ["outer"]]


def test_declarations_and_functions_without_code_answer_nothing() -> None:
    declared = Entry(w.SUBPROGRAM, [(w.NAME, w.STRING, b"declared"), (0x3C, w.FLAG_PRESENT, 1)])
    image = image_of([declared, abstract("inner"), function("real", 0x1000, 0x1010)])
    assert names_at(image, 0x1004) == ["real"]


def test_functions_of_namespaces_and_types_are_found_where_the_language_has_them() -> None:
    inside = Entry(
        w.NAMESPACE, [(w.NAME, w.STRING, b"core")], [Entry(w.STRUCTURE, [], [function("method", 0x1000, 0x1010)])]
    )
    behind = function("plain", 0x1010, 0x1020)
    for language in (w.RUST, 0x21, None):
        image = image_of([inside, behind], language=language)
        assert names_at(image, 0x1000) == ["method"]
        assert names_at(image, 0x1010) == ["plain"]
    # C has none, and its types are not entered: that is what makes a unit quick.
    assert names_at(image_of([inside, behind], language=w.C11), 0x1010) == ["plain"]


# --- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [w.REF1, w.REF2, w.REF4, w.REF8, w.REF_UDATA, w.REF_ADDR])
def test_a_name_is_found_through_a_reference_of_any_form(form: int) -> None:
    concrete = Entry(w.SUBPROGRAM, [(w.ORIGIN, form, To("inner")), *code(0x1000, 0x1010)])
    assert names_at(image_of([*HELPERS, concrete]), 0x1000) == ["inner"]


def test_a_reference_into_another_unit_is_followed_there_and_back() -> None:
    other = UnitSpec(
        Entry(
            w.COMPILE_UNIT, [], [variable(), Entry(w.SUBPROGRAM, [(w.ORIGIN, w.REF_ADDR, To("inner"))], None, "far")]
        ),
        V4,
        first_code=0x30,
    )
    call = Entry(w.INLINED, [(w.ORIGIN, w.REF_ADDR, To("far")), *code(0x1000, 0x1008), (w.CALL_LINE, w.DATA1, 3)])
    image = image_of([*HELPERS, function("outer", 0x1000, 0x1010, [call])], others=(other,))
    assert names_at(image, 0x1000) == ["inner", "outer"]
    assert image.damage == []


def test_a_specification_completes_a_declaration_and_linkage_names_come_first() -> None:
    declaration = Entry(
        w.SUBPROGRAM, [(w.NAME, w.STRING, b"plain"), (w.LINKAGE_NAME, w.STRING, b"_Zmangled")], None, "decl"
    )
    definition = Entry(w.SUBPROGRAM, [(w.SPECIFICATION, w.REF4, To("decl")), *code(0x1000, 0x1010)])
    assert names_at(image_of([declaration, definition]), 0x1000) == ["_Zmangled"]


def test_a_function_without_any_name_is_still_a_level() -> None:
    nameless = Entry(w.SUBPROGRAM, [], None, "nameless")
    call = inlined("nameless", 0x1000, 0x1008, 3)
    image = image_of([nameless, function("outer", 0x1000, 0x1010, [call])])
    assert chain_at(image, 0x1000) == [("", "fs/a.c", 1, True), ("outer", "fs/h.h", 3, False)]


# --- rows of other functions, and addresses without a row of their own --------------------------------------------


def image_with_rows(
    rows: list[tuple[int, int]], end: int, symbols: list[tuple[str, int]], *, with_calls: bool = False
) -> DebugImage:
    """A sequence of (address, line) rows and a function for each symbol, with an inlined call all over it if asked."""
    code_ = b"".join(
        set_address(address) + advance_line(line - 1) + COPY + advance_line(1 - line) for address, line in rows
    )
    code_ += set_address(end) + END_SEQUENCE
    starts_ = [start for _, start in symbols] + [END]
    functions = [
        function(
            name, start, starts_[i + 1], [inlined("inner", start, starts_[i + 1], 500 + i)] if with_calls else None
        )
        for i, (name, start) in enumerate(symbols)
    ]
    root: list[Attribute] = [(w.COMP_DIR, w.STRING, b"/linux"), *code(START, END), (w.STMT_LIST, w.SEC_OFFSET, 0)]
    info, abbrev, _ = write_units([UnitSpec(Entry(w.COMPILE_UNIT, root, [*HELPERS, *functions]))])
    files = (("fs/a.c", 0), ("fs/a.c", 0), ("fs/h.h", 0))
    line = line_program(LineSpec(code_, V5, ("/linux",), files))
    return debug_image({"info": info, "abbrev": abbrev, "line": line}, [SymbolSpec(*symbol) for symbol in symbols])


def outcome(image: DebugImage, name: str, offset: int) -> tuple[int, str] | None:
    """(line, outermost function) of an address of a symbol; None where there is no answer."""
    (symbol,) = image.find(name.encode())
    chain = image.chain(LinkAddr(symbol.address + offset), symbol)
    assert image.damage == []
    return (chain[0].line, chain[-1].function) if chain else None


def test_a_row_that_begins_before_the_symbol_is_not_its_own_the_first_one_inside_it_is() -> None:
    # Patchable nops and __pfx_ padding have no rows: what covers them is the function before.
    image = image_with_rows([(0x1000, 11), (0x1048, 22), (0x1060, 33)], 0x1080, [("before", 0x1000), ("after", 0x1040)])
    assert outcome(image, "before", 0x3F) == (11, "before")
    assert [outcome(image, "after", offset) for offset in (0, 7, 8, 0x1F, 0x20)] == [
        (22, "after"), (22, "after"), (22, "after"), (22, "after"), (33, "after")
    ]  # fmt: skip


def test_a_symbol_without_any_row_of_its_own_has_no_line_not_a_neighbours() -> None:
    image = image_with_rows(
        [(0x1000, 11), (0x1040, 22)], 0x1080, [("before", 0x1000), ("pads", 0x1020), ("after", 0x1040)]
    )
    assert [outcome(image, "pads", offset) for offset in (0, 0x10, 0x1F)] == [None, None, None]
    assert outcome(image, "after", 0) == (22, "after")


def test_behind_the_last_row_of_a_symbol_nothing_of_the_next_one_is_taken() -> None:
    image = image_with_rows([(0x1000, 11)], 0x1010, [("first", 0x1000), ("second", 0x1100)])
    assert outcome(image, "first", 0xF) == (11, "first")
    assert outcome(image, "first", 0x10) is None
    assert outcome(image, "second", 0) is None


def test_where_an_inlined_call_has_no_row_of_its_own_no_neighbours_line_is_taken() -> None:
    rows = [(0x1000, 11), (0x1048, 22)]
    symbols = [("before", 0x1000), ("pads", 0x1020), ("after", 0x1040)]
    image = image_with_rows(rows, 0x1060, symbols, with_calls=True)
    assert outcome(image, "before", 0x1F) == (11, "before")
    # 501 and 502 are the lines of the calls; what is inlined there is somewhere below them.
    assert outcome(image, "pads", 0) in (None, (501, "pads"))
    assert outcome(image, "after", 0) in ((22, "after"), (502, "after"))
    assert outcome(image, "after", 8) == (22, "after")
    assert outcome(image, "after", 0x30) in (None, (502, "after"))


def test_line_zero_takes_the_nearest_line_before_it_in_the_same_function() -> None:
    rows = [(0x1000, 11), (0x1010, 0), (0x1018, 0), (0x1020, 22), (0x1040, 0), (0x1050, 33)]
    image = image_with_rows(rows, 0x1080, [("before", 0x1000), ("after", 0x1040)])
    assert [outcome(image, "before", offset) for offset in (0, 0x10, 0x1F, 0x20)] == [
        (11, "before"), (11, "before"), (11, "before"), (22, "before")
    ]  # fmt: skip
    # Before the first line of a function only the function before has one.
    assert [outcome(image, "after", offset) for offset in (0, 0xF, 0x10)] == [None, None, (33, "after")]


def line_zero_chains(calls: list[Entry], asked: list[int], *others: Entry) -> list[Chain]:
    """The chains of addresses of 0x1000 to 0x1040: its only row with a line is the first, line 11 of fs/a.c."""
    rows = set_address(0x1000) + advance_line(10) + COPY + advance_pc(0x10) + advance_line(-11) + COPY
    code_ = rows + advance_pc(0x30) + END_SEQUENCE
    root: list[Attribute] = [(w.COMP_DIR, w.STRING, b"/linux"), *code(START, END), (w.STMT_LIST, w.SEC_OFFSET, 0)]
    functions = [*HELPERS, *(others or [function("outer", 0x1000, 0x1040, calls)])]
    info, abbrev, _ = write_units([UnitSpec(Entry(w.COMPILE_UNIT, root, functions))])
    line = line_program(LineSpec(code_, V5, ("/linux",), (("fs/a.c", 0), ("fs/a.c", 0), ("fs/h.h", 0))))
    image = debug_image({"info": info, "abbrev": abbrev, "line": line}, [SymbolSpec("func", 0x1000, size=0x40)])
    chains = [chain_at(image, address) for address in asked]
    assert image.damage == []
    return chains


def test_line_zero_in_the_same_inlined_call_is_the_row_before_it() -> None:
    call = inlined("middle", 0x1000, 0x1040, 60, [inlined("inner", 0x1000, 0x1020, 50)])
    expected = [("inner", "fs/a.c", 11, True), ("middle", "fs/h.h", 50, True), ("outer", "fs/h.h", 60, False)]
    assert line_zero_chains([call], [0x1000, 0x1010, 0x101F]) == [expected] * 3


def test_line_zero_behind_an_inlined_call_is_where_that_was_called() -> None:
    call = inlined("middle", 0x1000, 0x1030, 60, [inlined("inner", 0x1000, 0x1020, 50)])
    assert line_zero_chains([call], [0x1020, 0x102F, 0x1030]) == [
        [("middle", "fs/h.h", 50, True), ("outer", "fs/h.h", 60, False)],
        [("middle", "fs/h.h", 50, True), ("outer", "fs/h.h", 60, False)],
        [("outer", "fs/h.h", 60, False)],  # two calls ended: where the outer of them was
    ]


def test_line_zero_in_an_inlined_call_that_has_no_line_yet_is_where_it_is_called() -> None:
    call = inlined("middle", 0x1010, 0x1030, 60, [inlined("inner", 0x1020, 0x1030, 50)])
    assert line_zero_chains([call], [0x1010, 0x1020, 0x1030]) == [
        [("outer", "fs/h.h", 60, False)],
        [("outer", "fs/h.h", 60, False)],
        [("outer", "fs/a.c", 11, False)],  # the call has been and gone without any line
    ]
    within = inlined("middle", 0x1000, 0x1030, 60, [inlined("inner", 0x1020, 0x1030, 50)])
    assert line_zero_chains([within], [0x1020]) == [[("middle", "fs/h.h", 50, True), ("outer", "fs/h.h", 60, False)]]


def test_line_zero_in_the_second_of_two_inlined_calls_is_where_that_one_is_called() -> None:
    calls = [inlined("inner", 0x1000, 0x1010, 50), inlined("other", 0x1010, 0x1020, 70)]
    assert line_zero_chains(calls, [0x1010, 0x1020]) == [
        [("outer", "fs/h.h", 70, False)], [("outer", "fs/h.h", 50, False)]
    ]  # fmt: skip
    # The same function called in two places is not one call.
    calls = [inlined("inner", 0x1000, 0x1010, 50), inlined("inner", 0x1010, 0x1020, 70)]
    assert line_zero_chains(calls, [0x1010]) == [[("outer", "fs/h.h", 70, False)]]
    # Nor is a call in one that is shared the shared one.
    calls = [inlined("inner", 0x1000, 0x1010, 50), inlined("other", 0x1010, 0x1020, 70)]
    assert line_zero_chains([inlined("middle", 0x1000, 0x1040, 60, calls)], [0x1010]) == [
        [("middle", "fs/h.h", 70, True), ("outer", "fs/h.h", 60, False)]
    ]


def test_line_zero_where_a_call_has_no_place_of_its_own() -> None:
    # Compilers write line 0 for calls as well.
    begun = inlined("inner", 0x1010, 0x1020, 0)
    assert line_zero_chains([begun], [0x1010]) == [[("outer", "fs/a.c", 11, False)]]
    ended = inlined("inner", 0x1000, 0x1010, 0)
    assert line_zero_chains([ended], [0x1010]) == [[]]
    following = inlined("other", 0x1010, 0x1020, 0)
    assert line_zero_chains([inlined("inner", 0x1000, 0x1010, 50), following], [0x1010]) == [
        [("outer", "fs/h.h", 50, False)]
    ]


def test_line_zero_is_never_the_line_of_another_function() -> None:
    first, second = function("first", 0x1000, 0x1010), function("second", 0x1010, 0x1020)
    # Behind both is padding, which is in no function.
    assert line_zero_chains([], [0x1000, 0x1010, 0x1020], first, second) == [
        [("first", "fs/a.c", 11, False)], [], []
    ]  # fmt: skip
    called = function("second", 0x1010, 0x1020, [inlined("inner", 0x1010, 0x1018, 50)])
    assert line_zero_chains([], [0x1010, 0x1018], first, called) == [[("second", "fs/h.h", 50, False)], []]
    # A unit that names no function at all has rows only, and those go on.
    elsewhere = function("elsewhere", 0x1800, 0x1900)
    assert line_zero_chains([], [0x1000, 0x1010], elsewhere) == [[("", "fs/a.c", 11, False)]] * 2


def test_the_first_function_of_a_unit_may_begin_before_the_unit() -> None:
    # arm64 modules: two nops at the symbol, and unit, sequence and entry begin 8 bytes later.
    root: list[Attribute] = [(w.COMP_DIR, w.STRING, b"/linux"), *code(0x1008, 0x1100), (w.STMT_LIST, w.SEC_OFFSET, 0)]
    info, abbrev, _ = write_units([UnitSpec(Entry(w.COMPILE_UNIT, root, [function("f", 0x1008, 0x1100)]))])
    program = set_address(0x1008) + advance_line(6) + COPY + advance_pc(0xF8) + END_SEQUENCE
    symbols = [SymbolSpec("f", 0x1000), SymbolSpec("g", 0x1100), SymbolSpec("alone", 0x0FF0)]
    for table in (b"", aranges(0, [(0x1008, 0x1100)])):
        image = debug_image(
            {"info": info, "abbrev": abbrev, "line": line_program(LineSpec(program)), "aranges": table}, symbols
        )
        assert outcome(image, "f", 0) == outcome(image, "f", 7) == outcome(image, "f", 8) == (7, "f")
        assert outcome(image, "g", 0) is None
        assert outcome(image, "alone", 0) is None


def test_file_number_zero_of_an_old_program_is_the_units_own_name() -> None:
    program = set_address(START, V4) + b"\x04\x00" + COPY + advance_pc(16) + END_SEQUENCE
    root: list[Attribute] = [
        (w.NAME, w.STRING, b"fs/unit.c"),
        (w.COMP_DIR, w.STRING, b"/linux"),
        *code(START, END),
        (w.STMT_LIST, w.SEC_OFFSET, 0),
    ]
    info, abbrev, _ = write_units([UnitSpec(Entry(w.COMPILE_UNIT, root), V4)])
    line = line_program(LineSpec(program, V4, ("/linux",), (("fs/other.c", 0),)))
    assert chain_at(debug_image({"info": info, "abbrev": abbrev, "line": line}), START) == [("", "fs/unit.c", 1, False)]


def test_a_file_number_that_the_program_does_not_have_is_no_file() -> None:
    program = set_address(START) + b"\x04\x63" + COPY + advance_pc(16) + END_SEQUENCE
    root: list[Attribute] = [*code(START, END), (w.STMT_LIST, w.SEC_OFFSET, 0)]
    info, abbrev, _ = write_units([UnitSpec(Entry(w.COMPILE_UNIT, root))])
    image = debug_image({"info": info, "abbrev": abbrev, "line": line_program(LineSpec(program))})
    assert chain_at(image, START) == [("", "", 1, False)]


def test_all_rows_say_where_nothing_is_covered() -> None:
    first = set_address(0x1000) + COPY + advance_pc(8) + COPY + advance_pc(8) + END_SEQUENCE
    adjoining = set_address(0x1010) + advance_line(4) + COPY + advance_pc(8) + END_SEQUENCE
    behind_a_gap = set_address(0x1040) + advance_line(4) + COPY + advance_pc(8) + END_SEQUENCE
    root: list[Attribute] = [(w.COMP_DIR, w.STRING, b"/linux"), *code(START, END), (w.STMT_LIST, w.SEC_OFFSET, 0)]
    info, abbrev, _ = write_units([UnitSpec(Entry(w.COMPILE_UNIT, root))])
    files = (("fs/a.c", 0), ("fs/a.c", 0))
    line = line_program(LineSpec(behind_a_gap + adjoining + first, V5, ("/linux",), files))
    image = debug_image({"info": info, "abbrev": abbrev, "line": line})
    assert list(image.rows()) == [
        (0x1000, "fs/a.c", 1),
        (0x1010, "fs/a.c", 5),
        (0x1018, "", 0),
        (0x1040, "fs/a.c", 5),
        (0x1048, "", 0),
    ]


# --- units and tables around them --------------------------------------------------------------------------------


def test_a_unit_without_aranges_answers_the_same() -> None:
    image = image_of([*HELPERS, function("outer", 0x1000, 0x1010, [inlined("inner", 0x1000, 0x1008, 3)])])
    expected = chain_at(image, 0x1000)
    root: list[Attribute] = [
        (w.COMP_DIR, w.STRING, b"/linux"), *code(START, END), (w.STMT_LIST, w.SEC_OFFSET, 0),
        (w.LANGUAGE, w.DATA1, w.C11),
    ]  # fmt: skip
    children = [*HELPERS, function("outer", 0x1000, 0x1010, [inlined("inner", 0x1000, 0x1008, 3)])]
    info, abbrev, _ = write_units([UnitSpec(Entry(w.COMPILE_UNIT, root, children))])
    without = debug_image({"info": info, "abbrev": abbrev, "line": lines(V5)})
    assert chain_at(without, 0x1000) == expected == [("inner", "fs/a.c", 1, True), ("outer", "fs/h.h", 3, False)]


def test_a_unit_without_line_program_answers_nothing() -> None:
    root: list[Attribute] = [(w.LANGUAGE, w.DATA1, w.C11), *code(START, END)]
    info, abbrev, _ = write_units([UnitSpec(Entry(w.COMPILE_UNIT, root, [function("f", START, END)]))])
    image = debug_image({"info": info, "abbrev": abbrev, "line": lines(V5)})
    assert chain_at(image, 0x1000) == []


# --- damage ------------------------------------------------------------------------------------------------------


def assert_damaged(image: DebugImage, address: int, found: str) -> None:
    """The address has no answer, why is listed, and a second question costs no second entry."""
    assert chain_at(image, address) == []
    assert chain_at(image, address + 1) == []
    assert [found in str(error) for error in image.damage] == [True], image.damage
    assert str(image.damage[0]).startswith("synthetic: ")


def test_a_sibling_of_a_top_level_entry_that_points_back_is_damage_and_no_endless_loop() -> None:
    back = Entry(w.STRUCTURE, [(w.SIBLING, w.REF4, To("back"))], [variable()], "back")
    assert_damaged(image_of([variable(), back, function("f", 0x1000, 0x1100)]), 0x1000, "points back")


def test_a_sibling_of_an_inlined_call_that_points_back_is_damage_and_no_endless_loop() -> None:
    back = inlined("inner", 0x1F00, 0x1F10, 3, [variable()], [(w.SIBLING, w.REF4, To("back"))])._replace(label="back")
    assert_damaged(image_of([*HELPERS, function("f", 0x1000, 0x1100, [variable(), back])]), 0x1000, "points back")


@pytest.mark.parametrize("form", [w.REF1, w.REF2, w.REF8, w.REF_UDATA])
def test_a_sibling_of_any_other_form_that_points_back_does_not_loop(form: int) -> None:
    back = Entry(w.STRUCTURE, [(w.SIBLING, form, To("back"))], [variable()], "back")
    image = image_of([variable(), back, function("f", 0x1000, 0x1100)])
    assert names_at(image, 0x1000) in (["f"], [])
    assert (names_at(image, 0x1000) == []) == bool(image.damage)


def test_a_sibling_behind_the_units_end_is_damage_and_not_the_end_of_its_functions() -> None:
    far = Entry(w.STRUCTURE, [(w.SIBLING, w.REF4, 0x7FFFFF)], [variable()])
    image = image_of([far, function("f", 0x1000, 0x1100, [])])
    assert names_at(image, 0x1000) == ["f"] or image.damage != []


def test_a_circle_of_abstract_origins_is_damage() -> None:
    first = Entry(w.SUBPROGRAM, [(w.ORIGIN, w.REF4, To("second"))], None, "first")
    second = Entry(w.SUBPROGRAM, [(w.ORIGIN, w.REF4, To("first"))], None, "second")
    itself = Entry(w.SUBPROGRAM, [(w.ORIGIN, w.REF4, To("itself")), *code(0x1800, 0x1900)], None, "itself")
    call = inlined("first", 0x1000, 0x1008, 3)
    image = image_of([first, second, itself, function("outer", 0x1000, 0x1010, [call])])
    assert_damaged(image, 0x1000, "circle")
    assert chain_at(image_of([itself]), 0x1800) == []


@pytest.mark.parametrize("tag", [w.LEXICAL_BLOCK, w.INLINED])
def test_entries_nested_deeper_than_the_limit_are_damage_and_just_below_it_are_not(tag: int) -> None:
    def nested(depth: int) -> Entry:
        attributes: list[Attribute] = []
        if tag == w.INLINED:
            attributes = [
                (w.ORIGIN, w.REF4, To("inner")),
                *code(0x1000, 0x1100),
                (w.CALL_FILE, w.DATA1, 1),
                (w.CALL_LINE, w.DATA1, 1),
            ]
        entry = inlined("other", 0x1000, 0x1100, 5)
        for _ in range(depth):
            entry = Entry(tag, attributes, [entry])
        return function("outer", 0x1000, 0x1100, [entry])

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 4 * MAX_DEPTH)  # for the writer
    try:
        below, above = image_of([*HELPERS, nested(MAX_DEPTH - 10)]), image_of([*HELPERS, nested(MAX_DEPTH + 10)])
    finally:
        sys.setrecursionlimit(limit)
    found = names_at(below, 0x1000)
    assert (found[0], found[-1]) == ("other", "outer")
    assert len(found) == (MAX_DEPTH - 8 if tag == w.INLINED else 2)
    assert_damaged(above, 0x1000, "nested deeper")


@pytest.mark.parametrize("below_the_function", [False, True])
def test_an_abbreviation_code_that_is_not_declared_is_damage(below_the_function: bool) -> None:  # noqa: FBT001
    broken = Entry(w.STRUCTURE, [], [variable()])
    found = function("f", 0x1000, 0x1100, [broken] if below_the_function else None)
    assert_damaged(image_with_unknown_code([found] if below_the_function else [broken, found]), 0x1000, "KeyError")


def image_with_unknown_code(entries: list[Entry]) -> DebugImage:
    """The declaration of DW_TAG_structure_type gets another code than its entries have."""
    root: list[Attribute] = [
        (w.NAME, w.STRING, b"fs/a.c"), (w.COMP_DIR, w.STRING, b"/linux"), *code(START, END),
        (w.STMT_LIST, w.SEC_OFFSET, 0),
        (w.LANGUAGE, w.DATA1, w.C11),
    ]  # fmt: skip
    info, abbrev, _ = write_units([UnitSpec(Entry(w.COMPILE_UNIT, root, entries))])
    declaration = uleb(w.STRUCTURE) + b"\x01\0\0"
    at = abbrev.index(declaration) - 1
    assert abbrev.count(declaration) == 1
    broken = abbrev[:at] + b"\x70" + abbrev[at + 1 :]
    return debug_image({"info": info, "abbrev": broken, "line": lines(V5), "aranges": aranges(0, [(START, END)])})


def test_a_damaged_unit_without_aranges_is_listed_too() -> None:
    root: list[Attribute] = [*code(START, END), (w.STMT_LIST, w.SEC_OFFSET, 0)]
    info, abbrev, places = write_units([UnitSpec(Entry(w.COMPILE_UNIT, root, None, "root"))])
    broken = bytearray(info)
    broken[places["root"]] = 0x55
    image = debug_image({"info": bytes(broken), "abbrev": abbrev, "line": lines(V5)})
    assert chain_at(image, 0x1000) == []
    assert [".debug_info" in str(error) for error in image.damage] == [True]


def test_a_damaged_unit_header_is_listed() -> None:
    info, abbrev, _ = write_units(
        [UnitSpec(Entry(w.COMPILE_UNIT, [*code(START, END), (w.STMT_LIST, w.SEC_OFFSET, 0)]))]
    )
    image = debug_image({"info": b"\xf0" + info[1:], "abbrev": abbrev, "line": lines(V5)})
    assert chain_at(image, 0x1000) == []
    assert len(image.damage) == 1


def test_a_file_name_that_cannot_be_read_is_damage() -> None:
    # Directory and file names as DW_FORM_strx, and no .debug_str_offsets: clang's split units have such.
    tables = b"\x01\x01" + uleb(w.STRX) + b"\x01\x00" + b"\x02\x01" + uleb(w.STRX) + b"\x02\x0b" + b"\x01\x00\x00"
    program = LineSpec(set_address(START) + COPY + advance_pc(END - START) + END_SEQUENCE, strings=tables)
    root: list[Attribute] = [*code(START, END), (w.STMT_LIST, w.SEC_OFFSET, 0)]
    info, abbrev, _ = write_units([UnitSpec(Entry(w.COMPILE_UNIT, root))])
    for files in (tables, tables.replace(b"\x02\x0b\x01", b"\x02\x0b\x02\x00\x00")):
        line = line_program(program._replace(strings=files))
        image = debug_image({"info": info, "abbrev": abbrev, "line": line, "aranges": aranges(0, [(START, END)])})
        chain = chain_at(image, START)
        assert chain == [] or chain[0][1] == ""
        assert chain != [] or image.damage != []


def test_the_other_units_go_on_answering() -> None:
    def whole(low: int, name: str) -> UnitSpec:
        attributes: list[Attribute] = [
            (w.COMP_DIR, w.STRING, b"/linux"),
            *code(low, low + 0x100),
            (w.STMT_LIST, w.SEC_OFFSET, 0),
        ]
        return UnitSpec(Entry(w.COMPILE_UNIT, attributes, [function(name, low, low + 0x100)], name))

    info, abbrev, places = write_units([whole(0x1000, "first"), whole(0x1100, "second"), whole(0x1200, "third")])
    broken = bytearray(info)
    broken[places["second"]] = 0x55
    symbols = [
        SymbolSpec(name, address) for name, address in (("first", 0x1000), ("second", 0x1100), ("third", 0x1200))
    ]
    found = {}
    for aranges_ in (b"", b"".join(aranges(start, [(low, low + 0x100)]) for start, low in starts(info, abbrev))):
        image = debug_image({"info": bytes(broken), "abbrev": abbrev, "line": lines(V5), "aranges": aranges_}, symbols)
        for spec in symbols:
            (symbol,) = image.find(spec.name.encode())
            found[spec.name] = [location.function for location in image.chain(symbol.address, symbol)]
        assert found == {"first": ["first"], "second": [], "third": ["third"]}
        assert len(image.damage) == 1


def starts(info: bytes, abbrev: bytes) -> list[tuple[int, int]]:
    """(offset, low_pc) of the three units above."""
    index = UnitIndex(debug_sections(ElfFile(debug_file({"info": info, "abbrev": abbrev}), "file")))
    return [(header.offset, 0x1000 + 0x100 * i) for i, header in enumerate(index.headers())]
