"""`restore --points`: bring single points back into a live collection, and take that back."""
