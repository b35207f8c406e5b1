"""Evidence: what the records say, gathered and brought into a fixed order for judgement."""
