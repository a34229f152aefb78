"""What a model costs: counted (MACs, parameters, activations) and measured (latency, memory)."""

from __future__ import annotations

from vtbench.profiling.profile import Profile, count_costs, profile

__all__ = ["Profile", "count_costs", "profile"]
