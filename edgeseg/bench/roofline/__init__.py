"""The roofline: how fast this machine could run an engine, what share of that it reaches, and what holds it back.

After Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore architectures"
(CACM 52, 2009): no layer is faster than its multiply-adds at the best rate of the processor, nor than its bytes at the
best rate of the memory.
"""
