"""What a running Hanse does with other Devices: one module for each protocol, on trio.

A service reads and writes streams it is given, asks the engine on the engine's own threads, and
decides nothing about what arrives.  libp2p is not known here.
"""
