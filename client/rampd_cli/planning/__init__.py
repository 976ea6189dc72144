"""What a policy will do: when each step comes, and how soon a bad release is found."""
