"""How loud voices are in recordings, and what the near-field filter makes of them."""
