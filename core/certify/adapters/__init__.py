"""One reader for each format; imported in a Worker only, where model bytes are parsed.

* A reader answers ``ModelFacts`` or raises ``Unfit``; it writes nothing and runs nothing.
* It holds no more than its limits allow, whatever the file says of its own size.
"""
