"""The checks of a suite, one function each: what is looked at, and what it comes to.

* ``structure`` reads files, ``running`` runs the model, ``determinism`` runs it again,
  ``measuring`` times it, ``quality`` compares it with data.
* Each takes the run it belongs to and the check as the suite describes it, and returns its
  result; a failure of the Worker leaves as the exception it is, and becomes the check's.

In which order they run, and what follows from their results, is decided elsewhere.
"""
