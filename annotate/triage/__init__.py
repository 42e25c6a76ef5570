"""The reports in a log: what happened, the frame that matters and why, the files along its trace, who looks after them.

    pieces of a log --reports.py--> Report --guilty.py--> the step that matters --triager.py--> Crash

Lines come from the annotator; locations that stand in the text already (``written.py``) count like its own. Nothing
here opens a file: the list of plumbing and MAINTAINERS are handed in.
"""
