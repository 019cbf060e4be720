for name in filter(is_generated, CONFIG.datasets):

    rule:
        name:
            f"generate_{name}"
        input:
            code=code("pipeline.demo.generate"),
        output:
            truth=f"results/{name}/demo/truth.zarr.zip",
            lists=f"results/{name}/demo/lists.csv",
            videos=[f"results/{name}/demo/{entry.path}" for entry in entries(name)],
        log:
            f"results/{name}/logs/generate.log",
        conda:
            ENVIRONMENT
        threads: workflow.cores
        resources:
            mem_mb=doubling(2000),
            runtime=doubling(60),
        params:
            settings=settings_json(CONFIG, name, "generate"),
        shell:
            f"python -m pipeline.demo.generate --dataset {name} --settings {{params.settings:q}}"
            f" --threads {{threads}} {ASKED}"
            " --log {log:q} --output truth {output.truth:q} --output lists {output.lists:q}"


rule evaluate:
    input:
        index="results/{dataset}/data/index.parquet",
        truth="results/{dataset}/demo/truth.zarr.zip",
        poses=over_shards("results/{dataset}/motion/poses/{shard}.zarr.zip"),
        dual_encoder=over_shards("results/{dataset}/context/dual_encoder/{shard}.zarr.zip"),
        checkpoint=checkpoint(lambda section: section.context.texts),
        code=code("pipeline.demo.evaluate"),
    output:
        "results/{dataset}/demo/evaluation.parquet",
    log:
        "results/{dataset}/logs/evaluate.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=doubling(6000),
        runtime=doubling(30),
    params:
        settings=settings("evaluate"),
    shell:
        stage(
            "pipeline.demo.evaluate",
            "--input index {input.index:q}"
            " --input truth {input.truth:q} --input poses {input.poses:q} --input dual_encoder {input.dual_encoder:q}"
            " --output evaluation {output:q}",
        )
