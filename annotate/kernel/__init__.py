"""The world: the rooms that open, look around and map.

    identify.py  which kernel a file is of
    locate.py    which files may hold a kernel or a module, in order, each with the reason why it is tried
    images.py    opens them, checks that they fit, keeps them

Everything below is bytes in, values out.
"""
