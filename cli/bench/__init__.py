"""The yardsticks and ours, side by side on one machine in one run: `kaituan bench`.

command (rounds, medians) → parts (what is measured) → generator, yardsticks, copying (how);
arena is what they are measured on, report what is written and shown.
"""
