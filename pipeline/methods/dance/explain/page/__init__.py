"""The parts of the report: pictures, charts and texts that go into one page."""
