"""Object storages: their clients, made in one way, and what they answer, in our words."""
