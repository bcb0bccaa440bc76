"""Placeholder: described with its first module."""
