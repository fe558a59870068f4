"""Who said what, in which order, on whose behalf; nothing about whether it was wise.

Pure: nothing in this package reads a clock, a file, a socket or a database.
"""
