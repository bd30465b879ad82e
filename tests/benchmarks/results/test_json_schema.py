"""The published schema of ``report.json``."""

import json
from pathlib import Path

import jsonschema

from overfly.benchmarks.results.json_schema import report_schema
from overfly.benchmarks.results.records import REPORT_SCHEMA
from overfly.runtime.documents import dump_document

PUBLISHED = Path(__file__).parents[3] / "docs" / "report.schema.json"


def test_the_published_schema_is_that_of_the_dataclasses_and_takes_the_report(report):
    schema = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    assert schema == report_schema(), "python -m overfly.benchmarks.results.json_schema > docs/report.schema.json"
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    content = json.loads(dump_document(report, schema=REPORT_SCHEMA))
    validator.validate(content)
    for change in ({"schema": "overfly.report/1"}, {"extra": 1}, {"quick": "no"}, {"baseline": 0.5}):
        assert not validator.is_valid({**content, **change}), change
    del content["rows"][0]["quality"]["kappa"]
    assert not validator.is_valid(content)
