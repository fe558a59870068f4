"""Two ledgers of one truth: what a Peer is shown, what is asked of it, what is taken in.

``hanse.core.engine.replicating`` is the door; here are its parts.
"""
