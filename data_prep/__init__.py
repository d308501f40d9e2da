"""Raw data sets in, benchmark folders out: one reader a data set, every base and novel split as a file in `splits/`."""
