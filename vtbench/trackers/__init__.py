"""Runs told to the trackers that people look at, one file a tracker: it enters itself in `TRACKERS` when imported.

A module that enters another one there, for example that of a plug-in, adds a tracker.
"""

from vtbench.registry import import_files
from vtbench.trackers.tracker import TRACKERS, TrackedRun, Tracker, check_trackers

import_files(__name__, __path__)

__all__ = ["TRACKERS", "TrackedRun", "Tracker", "check_trackers"]
