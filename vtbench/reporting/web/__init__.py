"""Reports as pages: each one file of its own, which asks nothing of any network."""
