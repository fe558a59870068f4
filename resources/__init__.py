"""Files only: sentences, icons, suites and sample models, read with ``importlib.resources``.

There is no code here; a file that is not shipped in the wheel does not exist for Hanse.
"""
