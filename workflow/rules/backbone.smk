rule finetune:
    input:
        index="results/{dataset}/data/index.parquet",
        clips=over_shards("results/{dataset}/data/clips/{shard}.zarr.zip"),
        views=with_views("results/{dataset}/data/views/{shard}.zarr.zip"),
        checkpoint=checkpoint(lambda section: section.backbone.features),
        code=code("pipeline.backbone.finetune"),
    output:
        curve="results/{dataset}/backbone/finetune.parquet",
        config="results/{dataset}/backbone/finetuned/config.json",
        processor="results/{dataset}/backbone/finetuned/preprocessor_config.json",
        weights="results/{dataset}/backbone/finetuned/model.safetensors",
    log:
        "results/{dataset}/logs/finetune.log",
    conda:
        ENVIRONMENT
    threads: finetune_threads()
    resources:
        mem_mb=doubling(16000),
        # A job that was ended by its time limit goes on from its last state.
        runtime=doubling(1440),
        gpu=gpus() * CONFIG.runtime.finetune_processes,
    params:
        settings=settings("finetune"),
    shell:
        stage(
            "pipeline.backbone.finetune",
            "--input index {input.index:q} --input clips {input.clips:q} --input views {input.views:q}"
            " --output finetune {output.curve:q} --output finetuned {output.weights:q}",
        )


rule features:
    input:
        index=ancient(index_of),
        clips=unless_imported("features", "results/{dataset}/data/clips/{shard}.zarr.zip"),
        finetune=with_tuning("results/{dataset}/backbone/finetune.parquet"),
        finetuned=with_tuning("results/{dataset}/backbone/finetuned/model.safetensors"),
        imported=under_root(lambda section: section.backbone.features, "path"),
        checkpoint=checkpoint(lambda section: section.backbone.features),
        code=code("pipeline.backbone.features"),
    output:
        "results/{dataset}/backbone/features/{shard}.zarr.zip",
    log:
        "results/{dataset}/logs/features/{shard}.log",
    priority: WAITED_FOR
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
            " --input index {input.index:q} --input clips {input.clips:q} --input finetune {input.finetune:q}"
            " --input finetuned {input.finetuned:q} --output features {output:q}",
        )


rule maps:
    input:
        clips="results/{dataset}/data/clips/{shard}.zarr.zip",
        finetune=with_tuning("results/{dataset}/backbone/finetune.parquet"),
        finetuned=with_tuning("results/{dataset}/backbone/finetuned/model.safetensors"),
        checkpoint=checkpoint(lambda section: section.backbone.features),
        code=code("pipeline.backbone.maps"),
    output:
        "results/{dataset}/backbone/maps/{shard}.zarr.zip",
    log:
        "results/{dataset}/logs/maps/{shard}.log",
    priority: WAITED_FOR
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
            "--shard {wildcards.shard} --input clips {input.clips:q} --input finetune {input.finetune:q}"
            " --input finetuned {input.finetuned:q} --output maps {output:q}",
        )
