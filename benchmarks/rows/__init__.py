"""The rows of the page: a file for each part, a test for each row or a few of its kind."""
