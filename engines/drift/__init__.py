"""Drift: what says that a stream is no longer what it was, and how often it says so where nothing changed.

`families` lists the detectors of streams of numbers, ours (`ranks`) and River's, `budget` gives one by the expected run
time between false alarms, `changes` says what moved, since when and how much, `embeddings` watches vectors.
"""
