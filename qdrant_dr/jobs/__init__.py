"""The units of work and the pure plans around them, one module per verb.

Order lives here once: a verb's function plans units, hands them to `perform` (threads for the
command line, tasks for Prefect) and concludes from their outcomes.
"""
