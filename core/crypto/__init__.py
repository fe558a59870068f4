"""Keys, signatures, sealed boxes and passphrases: the only importers of nacl and cryptography.

Nothing here reads a clock, a file or randomness: chance is an argument.
"""
