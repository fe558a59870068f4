"""What is offered and wanted, and how the two find each other: rules without clock, file or chance.

Texts that ship with the program (``hanse.resources``) may be read, once.
"""
