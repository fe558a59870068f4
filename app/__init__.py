"""The process: entry points, terminal commands and the wiring of one engine.

Holds no rule of the market and no query; it builds what the other layers define, hands it a
command line, and turns errors into sentences and exit codes.
"""
