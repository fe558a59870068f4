"""The protocols without I/O: bytes in, messages and actions out.

Nothing here knows a socket, a thread, a clock or a database; time and chance are arguments.
What a Peer sends becomes a message of the protocol or a ``ProtocolViolation``, nothing else.
"""
