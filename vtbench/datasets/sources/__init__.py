"""The data sets that ``--data`` can name, one file each. A new file here is a new data set."""
