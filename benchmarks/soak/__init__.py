"""Mixed requests and streams for hours while things go wrong: what is answered as it must not be, and what grows."""
