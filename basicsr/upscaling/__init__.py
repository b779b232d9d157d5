"""Pictures to larger pictures: files in, files out, with all that the files said about themselves."""
