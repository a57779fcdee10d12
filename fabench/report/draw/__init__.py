"""Charts as SVG, written from Python. Colours are classes, so that the page's light, dark and print styles reach them."""
