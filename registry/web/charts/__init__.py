"""Chart geometry: the position of each mark and the domain data behind it.

Templates draw the charts as SVG, write every text and link every mark. Nothing here makes markup or text.
"""
