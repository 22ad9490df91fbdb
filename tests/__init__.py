"""Tests, named as what they test; scenarios are named for what a person lives through."""
