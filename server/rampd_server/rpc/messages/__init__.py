"""Between the values of the domain and the messages of rampd.v1."""
