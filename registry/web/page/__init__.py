"""What all pages share: the request with its point in time, rendering, caches, errors, sliders, names and citations."""
