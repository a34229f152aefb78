"""Finished networks judged on data: those of their runs, or others of the same classes."""
