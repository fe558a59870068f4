"""The rules of one purchase: what a licence grants, and what both sides sign.

Pure: time and chance are arguments.  Texts that ship with the program
(``hanse.resources``) may be read, once.
"""
