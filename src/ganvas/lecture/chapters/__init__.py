"""The chapters of the lecture: a module, a template and a script each; see `ganvas.lecture`."""
