"""Charts and maps: the position of each mark and the domain data behind it.

Templates draw the charts as SVG, write every text and link every mark. `pages.py` has the charts that other sites may
embed; the other modules make neither markup nor text.
"""
