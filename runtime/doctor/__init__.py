"""What works on a machine and what does not, and the remedy: `examination.examine`.

All that may be missing or broken here is asked of a process of its own (`probe`); this one needs nothing but Python
until that has answered, and what is not there is a finding like any other. docs/doctor.md lists the checks.
"""
