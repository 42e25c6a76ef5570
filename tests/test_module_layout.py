from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from annotate.debuginfo.elf import SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, Section
from annotate.debuginfo.module_layout import FIRST_REGION, REGION_ALIGNMENT, lay_out

TEXT, DATA, READ_ONLY = SHF_ALLOC | SHF_EXECINSTR, SHF_ALLOC | SHF_WRITE, SHF_ALLOC
LARGEST_PAGE = 0x10000


def section(index: int, name: str, flags: int, size: int, alignment: int = 16) -> Section:
    return Section(index, name, 1, flags, 0, 0, size, 0, 0, alignment)


def test_code_lies_in_file_order_each_section_at_its_alignment() -> None:
    # kernel/module/main.c, layout_sections(): file order within a region, whatever stands between.
    layout = lay_out(
        [
            section(0, "", 0, 0),
            section(1, ".text", TEXT, 0x51),
            section(2, ".rela.text", 0, 0x1000),
            section(3, ".data", DATA, 8),
            section(4, ".text.unlikely", TEXT, 3, 1),
            section(5, ".exit.text", TEXT, 0x20, 64),
        ]
    )
    text = layout.bases[1]
    assert text == FIRST_REGION
    assert layout.bases[4] == text + 0x51
    assert layout.bases[5] == text + 0x80
    assert layout.region_ends[0] == text + 0xA0
    assert 2 not in layout.bases


def test_init_code_is_a_region_of_its_own_and_exit_code_is_not() -> None:
    layout = lay_out(
        [
            section(1, ".init.text", TEXT, 0x51),
            section(2, ".text", TEXT, 0x10),
            section(3, ".exit.text", TEXT, 0x10),
            section(4, ".init.text.unlikely", TEXT, 0x10),
        ]
    )
    assert layout.bases[3] == layout.bases[2] + 0x10
    assert layout.bases[1] >= layout.region_ends[0]
    assert layout.bases[1] % LARGEST_PAGE == 0
    assert layout.bases[4] == layout.bases[1] + 0x60
    assert layout.region_ends[1] == layout.bases[4] + 0x10


def test_read_only_and_writable_data_lie_behind_the_code_apart_from_each_other() -> None:
    layout = lay_out([section(1, ".data", DATA, 4), section(2, ".rodata", READ_ONLY, 4), section(3, ".text", TEXT, 4)])
    assert layout.bases[3] < layout.bases[2] < layout.bases[1]
    assert layout.region_ends[2] == layout.bases[2] + 4
    assert layout.region_ends[3] == layout.bases[1] + 4


def test_a_code_section_that_is_writable_too_is_code() -> None:
    # masks[0] of layout_sections() asks for SHF_EXECINSTR and takes the section whatever else it is.
    layout = lay_out([section(1, ".text", TEXT, 0x10), section(2, ".plt", TEXT | SHF_WRITE, 0x10, 1)])
    assert layout.bases[2] == layout.bases[1] + 0x10


sections_strategy = st.lists(
    st.tuples(
        st.sampled_from([".text", ".text.unlikely", ".init.text", ".exit.text", ".data", ".rodata", ".debug_info"]),
        st.sampled_from([0, TEXT, DATA, READ_ONLY, TEXT | SHF_WRITE]),
        st.integers(0, 0x30000),
        st.sampled_from([0, 1, 4, 16, 64, 4096]),
    ),
    max_size=12,
).map(lambda rows: [section(index, *row) for index, row in enumerate(rows)])


@given(sections_strategy)
def test_no_two_sections_share_an_address_not_even_when_regions_are_rounded_to_pages(sections: list[Section]) -> None:
    layout = lay_out(sections)
    assert set(layout.bases) == {section.number for section in sections if section.is_allocated}
    spans = []
    for index, base in layout.bases.items():
        assert base >= FIRST_REGION
        assert base % max(sections[index].alignment, 1) == 0
        spans.append((base, base + sections[index].size, index))
    spans.sort()
    for (_, end, _), (start, _, _) in pairwise(spans):
        assert end <= start
    assert list(layout.region_ends) == sorted(layout.region_ends)
    for start, end, _ in spans:
        # Each lies in one region, and rounding that one's end up to any page size reaches no other section.
        region_end = next(region_end for region_end in layout.region_ends if region_end >= end and region_end >= start)
        rounded = -(-region_end // LARGEST_PAGE) * LARGEST_PAGE
        assert all(other_end <= region_end or other >= rounded for other, other_end, _ in spans)
    assert REGION_ALIGNMENT >= LARGEST_PAGE
