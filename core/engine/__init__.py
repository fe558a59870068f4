"""Use cases: one public function for each thing a person can do.

Each opens a unit of work, loads values, asks the pure middle, stores the answer
in one transaction, commits, and only then lets anything leave the machine.
"""
