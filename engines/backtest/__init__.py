"""Backtests: alerts of a replay held against what is known to have happened. Pure: no clock, no files, no models."""
