"""`expire`: let copies go that no rule keeps; `hold` keeps one whatever the policy says."""
