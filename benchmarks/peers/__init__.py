"""Engines that decode_4b.py times, each a process of its own: ours, and those that others would use instead.

`process` starts one and asks it by lines of JSON; `worker` is the other end, alike for all; an engine is a module of
its name, of which `worker.Engine` says what it has to have.
"""
