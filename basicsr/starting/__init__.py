"""The first option file: templates to copy, and files that are written for a folder of photographs and this machine."""
