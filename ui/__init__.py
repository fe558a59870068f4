"""The window: shows what the engine answers and asks it for what a person clicks.

Holds no rule, no query and no thread.  It is the only layer that may import Qt, and the
terminal and the node work without it.
"""
