"""The frames of a report: typed columns, and rows that must fit them."""
