"""How models are fitted, recorded and released."""
