"""Charts of a page as SVG that takes its colours from the page: each has a title, and names what one points at."""
