"""What the studio and the lecture share as web servers: who may ask them, and where they listen."""
