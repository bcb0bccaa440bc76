"""What a room, or many, will need: messages, money, latency, and which limit is reached first.

Arithmetic and simulation only, on the counting rules of `whatssound.core.budget`; the command ``whatssound cost`` shows
it. What is measured elsewhere and used here says where it comes from.
"""
