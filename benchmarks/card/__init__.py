"""The parts of `gpu.py`: each measures one thing on one card, in a process of its own.

A part is a function of `notes.Notes`: what to measure, how much time is left, and where to put what is found. What
fails is noted with one line, and the part goes on.
"""
