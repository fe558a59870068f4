"""Bytes on the local disk, named by what they are."""
