"""The data of a report: records, statistics, validity, recommendation. Imports no renderer."""
