"""Looking at the visual tokens of a network while it classifies: where they look, and what that is in numbers."""
