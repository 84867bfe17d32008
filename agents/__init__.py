"""Stream functions: async generators over records, closed over engines and a mapping of state."""
