"""From predictions to a report: suites, scores, comparisons, pages."""
