"""What is wrong between this machine, a server and its store: the facts, and what each check says about them."""
