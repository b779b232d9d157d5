"""Pictures and videos to larger ones: files in, files out, with all that the files said about themselves."""
