"""Claims of the literature held against what is counted and trained here."""
