"""Decisions without I/O.

Nothing here sleeps, opens a socket, reads a clock or draws a random number: time and chance come in as arguments, and
what comes out is what the caller should do. So every rule of delivery can be tested exhaustively and fast.
import-linter holds the rule.
"""
