"""Tables: columns of numbers, categories and dates, as numbers that a model learns, and back."""
