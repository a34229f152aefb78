"""Finished networks as files that other programs run, checked before they are published, and their model cards."""
