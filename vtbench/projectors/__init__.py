"""From visual tokens back to the feature map."""
