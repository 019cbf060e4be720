rule pictures:
    input:
        index="results/{dataset}/data/index.parquet",
        features=over_shards("results/{dataset}/backbone/features/{shard}.zarr.zip"),
        clips=clips_unless_imported,
        motion_concepts=with_motion("results/{dataset}/motion/motion_concepts.zarr.zip"),
        layers="results/{dataset}/bottleneck/concept_layers.zarr.zip",
        classifier="results/{dataset}/bottleneck/classifier.zarr.zip",
        code=code("pipeline.explain.pictures"),
    output:
        motion_concepts="results/{dataset}/explain/motion_concepts.png",
        explanations="results/{dataset}/explain/explanations.png",
    log:
        "results/{dataset}/logs/pictures.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=doubling(8000),
        runtime=doubling(30),
    params:
        settings=settings("pictures"),
    shell:
        stage(
            "pipeline.explain.pictures",
            "--input index {input.index:q}"
            " --input features {input.features:q} --input clips {input.clips:q}"
            " --input motion_concepts {input.motion_concepts:q} --input concept_layers {input.layers:q}"
            " --input classifier {input.classifier:q}"
            " --output motion_concepts {output.motion_concepts:q} --output explanations {output.explanations:q}",
        )
