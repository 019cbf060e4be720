rule features:
    input:
        index=ancient(index_of),
        clips=unless_imported("features", "results/{dataset}/data/clips/{shard}.zarr.zip"),
        imported=under_root(lambda section: section.backbone.features, "path"),
        checkpoint=checkpoint(lambda section: section.backbone.features),
        code=code("pipeline.backbone.features"),
    output:
        "results/{dataset}/backbone/features/{shard}.zarr.zip",
    log:
        "results/{dataset}/logs/features/{shard}.log",
    conda:
        ENVIRONMENT
    threads: encoder_threads()
    resources:
        mem_mb=doubling(8000),
        runtime=doubling(60),
        gpu=gpus(),
    params:
        settings=settings("features"),
        members=members,
    shell:
        stage(
            "pipeline.backbone.features",
            "--shard {wildcards.shard}"
            " --input index {input.index:q} --input clips {input.clips:q} --output features {output:q}",
        )


rule maps:
    input:
        clips="results/{dataset}/data/clips/{shard}.zarr.zip",
        checkpoint=checkpoint(lambda section: section.backbone.features),
        code=code("pipeline.backbone.maps"),
    output:
        "results/{dataset}/backbone/maps/{shard}.zarr.zip",
    log:
        "results/{dataset}/logs/maps/{shard}.log",
    conda:
        ENVIRONMENT
    threads: encoder_threads()
    resources:
        mem_mb=doubling(6000),
        runtime=doubling(60),
        gpu=gpus(),
    params:
        settings=settings("maps"),
    shell:
        stage(
            "pipeline.backbone.maps",
            "--shard {wildcards.shard} --input clips {input.clips:q} --output maps {output:q}",
        )
