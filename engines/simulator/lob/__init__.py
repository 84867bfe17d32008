"""A market of order books: prices answer to the orders, and whoever misbehaves sends orders like everybody else.

`book` matches, `world` keeps the time, `agents` and `queues` are two models of background flow, `stage` and `schemes`
the misconduct, `plan` who does what when, `units` what is usual, `tape` what the feed says, `session` a whole day.
"""
