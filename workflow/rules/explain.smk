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


rule cross_domain:
    input:
        model="results/{trained}/model.pt",
        index="results/{dataset}/data/index.parquet",
        features=over_shards("results/{dataset}/backbone/features/{shard}.zarr.zip"),
        maps=lambda wc: (
            over_shards("results/{dataset}/backbone/maps/{shard}.zarr.zip")(wc)
            if has_maps(section_named(CONFIG, wc.trained))
            else []
        ),
        code=code("pipeline.bottleneck.cross_domain"),
    output:
        "results/{dataset}/cross_domain/{trained}.json",
    log:
        "results/{dataset}/logs/cross_domain/{trained}.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=doubling(4000),
        runtime=doubling(30),
    params:
        # A set that is there for tests only belongs to the question as a whole.
        split=lambda wc: "all" if wc.trained != wc.dataset else "test",
    shell:
        "python -m pipeline.cli evaluate {input.model:q} results/{wildcards.dataset} --split {params.split} --json"
        " > {output:q} 2> {log:q}"
