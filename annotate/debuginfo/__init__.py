"""ELF files and their DWARF, read lazily: bytes in, symbols and source locations out.

    elf.py            sections, notes, links to other files
    compression.py    sections and files that are compressed
    symtab.py         the symbol table, with what is special to a machine
    module_layout.py  addresses for the sections of a module (a relocatable file has none)
    relocate.py       bytes of a debug section with its relocations applied
    units.py          one unit: its header, its own entry, what values stand for
    unitindex.py      which unit holds an address: .debug_aranges, else the units' own ranges
    abbreviations.py  .debug_abbrev, and how to step over a debugging information entry
    attributes.py     attribute forms
    ranges.py         range lists
    lineheader.py     .debug_line: directories, files, where the program is
    lineprogram.py    .debug_line -> columns of rows: a hot loop
    inlines.py        .debug_info -> inlined call chains: the other hot loop
    paths.py          DWARF paths -> paths in the kernel tree
    dwarf.py          all of these together: address -> locations
    image.py          elf + symbols + dwarf: one kernel or one module that can be asked

The specification that a module follows is named at its top; section numbers are those of DWARF 5.
"""
