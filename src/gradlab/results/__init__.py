"""The files of a run: writes them, reads them back as frames, resumes a sweep."""
