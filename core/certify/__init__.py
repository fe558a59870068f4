"""Looking at and running somebody else's model, safely, on one's own hardware.

* Model bytes are parsed in a Worker, a child process with hard bounds; the parent reads the
  few bytes that tell a format and nothing else.
* Whatever comes out of a Worker is treated as written by the model's author.
"""
