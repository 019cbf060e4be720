rule index:
    input:
        lists=lambda wc: [f"results/{wc.dataset}/demo/lists.csv"] if is_generated(wc.dataset) else [],
        code=code("pipeline.data.index"),
    output:
        "results/{dataset}/data/index.parquet",
    params:
        settings=settings("index"),
        members=all_members,
    log:
        "results/{dataset}/logs/index.log",
    threads: 1
    shell:
        "{PYTHON:q} -m pipeline.data.index " + CALL + " --output index {output:q}"


rule decode:
    input:
        index=ancient("results/{dataset}/data/index.parquet"),
        videos=videos_of_shard,
        code=code("pipeline.data.decode"),
    output:
        clips="results/{dataset}/data/clips/{shard}.zarr.zip",
        signal="results/{dataset}/data/signal/{shard}.zarr.zip",
    params:
        settings=settings("decode"),
        members=members,
    log:
        "results/{dataset}/logs/decode/{shard}.log",
    threads: 1
    shell:
        "{PYTHON:q} -m pipeline.data.decode " + CALL + " --shard {wildcards.shard}"
        " --input index {input.index:q} --output clips {output.clips:q} --output signal {output.signal:q}"
