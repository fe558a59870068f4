"""Keys on disk: the Keystore, the guards against a copied disk, backups.

The files are this package's own; what an Entry means, it does not know.
"""
