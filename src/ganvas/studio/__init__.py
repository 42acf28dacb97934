"""The studio: a web page to start, watch, stop and explore runs.

The run folder is the interface: the studio reads what runs write, and starts them as ordinary `ganvas` processes, which
go on when page and server are closed.  Needs the extra `studio` (FastAPI and uvicorn).
"""
