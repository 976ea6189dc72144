"""Between the values of the domain and the texts that Redis holds."""
