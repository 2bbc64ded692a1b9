"""Figures: each draws one finding into the axes that it is given, so that it can stand alone or in a report."""
