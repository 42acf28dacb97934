"""Pictures: grids of images, plots of vectors, curves of a log, and pages."""
