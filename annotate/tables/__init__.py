"""Tables that stand in for debug info: small, made once, looked up without decoding DWARF.

Our own format is ``.lineinfo``; the ``kernel_*`` modules read and write what CONFIG_KALLSYMS_LINEINFO kernels embed,
one module a posted format. Those formats are owned upstream: nothing in them is ever improved here.
"""
