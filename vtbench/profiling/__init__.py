"""What a model costs: counted (MACs, parameters, activations) and measured (latency, memory)."""

from __future__ import annotations

from vtbench.profiling.profile import count_costs, profile
from vtbench.records.profile import Profile

__all__ = ["Profile", "count_costs", "profile"]
