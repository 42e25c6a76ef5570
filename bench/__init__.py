"""The filter and its tables beside other tools, in turn, on the same work: ``python -m bench``."""
