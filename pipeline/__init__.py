"""The implementation of Conceptreel; what other programs may rely on is the package ``conceptreel``.

From below, with no import upward:

- ``settings`` and ``store``: sections of the configuration; the only code that opens or writes an artifact
- ``jobs``: one call of one stage, and how stages are declared
- ``learning``, ``encoding``: what several methods, or several encoders, share
- ``demo``: generated videos; ``data``, ``exchange``: videos and their labels, files that others made
- ``motion``, ``context``, ``backbone``: the floors that look at videos
- ``methods``: what stands on the floors, a folder each
- ``config``, ``rules``: the whole configuration, and the graph of stages under it
- ``inspection``, ``ablations``, every ``commands`` module, and ``cli``
"""

__version__ = "0.2.0"
