"""A seeded market simulator: background order flow, injected events, and labels of what was injected.

`events` says what happens to price and flow, `flow` draws the tape, `words` writes, `people` trades and
pays, `day` puts a day together. A richer flow (an order book with agents) takes `flow`'s place and keeps the others.
"""
