"""The only place that knows libp2p and trio.

Everything else speaks to other machines through the engine's port; the names of the library
stop here, so that a new version of it is a change of this package alone.

Importing the package, and so any module of it, imports ``standin`` first: without it
``import libp2p`` fails where a library that Hanse leaves out is absent.
"""

from hanse.network.transport import standin as standin
