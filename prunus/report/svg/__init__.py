"""Drawings as SVG: small, sharp at any size, coloured by the page's style sheet, light and dark.

Every one is made for a phone's width (`WIDTH`), so that its letters stay readable there; pages set
two side by side where there is room. Texts are escaped here.
"""
