"""The page: what a person sees of rampd in a browser, at `/` of the HTTP port. It works without JavaScript as far as reading goes."""
