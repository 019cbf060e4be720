checkpoint index:
    input:
        lists=lambda wc: [f"results/{wc.dataset}/demo/lists.csv"] if is_generated(wc.dataset) else [],
        code=code("pipeline.data.index"),
    output:
        "results/{dataset}/data/index.parquet",
    log:
        "results/{dataset}/logs/index.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=doubling(2000),
        runtime=doubling(20),
    params:
        settings=settings("index"),
        members=all_members,
    shell:
        stage(
            "pipeline.data.index",
            "--output index {output:q}",
        )


rule decode:
    input:
        index=ancient(index_of),
        videos=videos_of_shard,
        code=code("pipeline.data.decode"),
    output:
        clips="results/{dataset}/data/clips/{shard}.zarr.zip",
        signal="results/{dataset}/data/signal/{shard}.zarr.zip",
    log:
        "results/{dataset}/logs/decode/{shard}.log",
    priority: WAITED_FOR
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=doubling(4000),
        runtime=doubling(60),
    params:
        settings=settings("decode"),
        members=members,
    shell:
        stage(
            "pipeline.data.decode",
            "--shard {wildcards.shard}"
            " --input index {input.index:q} --output clips {output.clips:q} --output signal {output.signal:q}",
        )


rule views:
    input:
        index=ancient(index_of),
        videos=videos_of_shard,
        code=code("pipeline.data.views"),
    output:
        "results/{dataset}/data/views/{shard}.zarr.zip",
    log:
        "results/{dataset}/logs/views/{shard}.log",
    priority: WAITED_FOR
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=doubling(8000),
        runtime=doubling(60),
    params:
        settings=settings("views"),
        members=members,
        trained_on=trained_on,
    shell:
        stage(
            "pipeline.data.views",
            "--shard {wildcards.shard} --input index {input.index:q} --output views {output:q}",
        )
