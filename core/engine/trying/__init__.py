"""Trials before purchase, both sides; ``hanse.core.engine.trials`` joins them."""
