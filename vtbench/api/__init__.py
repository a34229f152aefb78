"""What ``import vtbench`` offers: the verbs as functions, for notebooks and scripts.

A mistake is a `vtbench.errors.UserError` with the message that the command line prints. Nothing here is imported
before it is used: see ``vtbench.__getattr__``.
"""
