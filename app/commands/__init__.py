"""Terminal commands, each a thin call of the engine.

A command takes a ``Desk`` and the values of its command line, and returns an
``Answer``.  It decides nothing the engine could decide, and prints nothing but
questions and drafts: the answer is printed by ``hanse.app.cli``.
"""
