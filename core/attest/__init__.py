"""Signed statements about models: suites, Certificates, Levels, reproduction, human review.

Everything here is a function of values: no file but the bundled suites, no clock, no chance.
Running a model is ``hanse.core.certify``'s, keeping what was found ``hanse.core.store``'s.
"""
