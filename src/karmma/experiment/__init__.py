"""A recipe from media files to report: the stages of a run and its results."""
