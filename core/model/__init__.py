"""Values of the market: frozen, slotted, valid when made, and nothing beyond that."""
