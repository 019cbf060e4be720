"""Conceptreel: action recognition that explains itself.

One folder per floor of the pipeline: data, motion, context, backbone, bottleneck, explain, and the embedded demo.
Beside them: ``config`` (what may be configured), ``stage`` (the entry shared by every stage), ``store`` (the only
code that opens or writes an artifact), ``exchange`` (files that others made or want to read) and ``cli`` (the
``conceptreel`` command).
"""

__version__ = "0.1.0"
