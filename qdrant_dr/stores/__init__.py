"""Places to keep bytes: what each provider is asked, how it answers, and what its codes mean."""
