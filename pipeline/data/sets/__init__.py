"""One reader per form of data set, all behind ``read(settings, root) -> Listing``.

A new published set is a module here, a line below, a name in ``data.index.source`` and a page in docs/datasets.
"""

from pipeline.data.sets import (
    breakfast,
    cad120,
    charades,
    coin,
    folders,
    generated,
    haa500,
    kth,
    mimetics,
    path_lists,
    penn_action,
    synta,
    transfer_lists,
    ucf101,
    ucf101_scuba,
    weizmann,
)

# Sources whose videos the project makes itself.
MADE = ("generated", "generated_graphs", "synta")

READERS = {
    "breakfast": breakfast.read,
    "breakfast_activities": breakfast.read,
    "coin": coin.read,
    "coin_tasks": coin.read,
    "lists": path_lists.read,
    "folders": folders.read,
    "images": folders.read,
    "generated": generated.read,
    "generated_graphs": generated.read,
    "cad120": cad120.read,
    "charades": charades.read,
    "charades_scenes": charades.read,
    "haa500": haa500.read,
    "kth": kth.read,
    "mimetics": mimetics.read,
    "penn_action": penn_action.read,
    "ucf101": ucf101.read,
    "ucf101_scuba": ucf101_scuba.read,
    "weizmann": weizmann.read,
    "synta": synta.read,
    "k400_ta": transfer_lists.read_k400,
    "ssv2_ta": transfer_lists.read_ssv2,
}
