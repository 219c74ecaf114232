"""Looking at results: reports, comparisons, studies."""
