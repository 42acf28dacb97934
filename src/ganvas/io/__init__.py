"""Files: written whole or not at all, read without pickle; and text that a terminal may see."""
