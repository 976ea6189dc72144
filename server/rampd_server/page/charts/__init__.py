"""The charts of the page: numbers that templates draw as SVG. Pure."""
