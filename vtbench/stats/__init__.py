"""Intervals, paired differences and Pareto fronts. NumPy and SciPy only."""
