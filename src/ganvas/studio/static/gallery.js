// The gallery: cards follow their runs.
