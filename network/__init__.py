"""Other machines: protocols, transport and Payment rails, behind the ports of the engine.

This layer decides nothing and trusts nobody: what arrives is bounded, parsed and handed to
``hanse.core``.  It knows no widget and no SQL.
"""
