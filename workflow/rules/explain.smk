rule pictures:
    input:
        index="results/{dataset}/data/index.parquet",
        features=over_shards("results/{dataset}/backbone/features/{shard}.zarr.zip"),
        clips=clips_unless_imported,
        motion_concepts=with_motion("results/{dataset}/motion/motion_concepts.zarr.zip"),
        layers="results/{dataset}/bottleneck/concept_layers.zarr.zip",
        classifier="results/{dataset}/bottleneck/classifier.zarr.zip",
        code=code("pipeline.methods.dance.explain.pictures"),
    output:
        motion_concepts=report(
            "results/{dataset}/explain/motion_concepts.png",
            category="{dataset}",
            caption="../report/motion_concepts.rst",
        ),
        explanations=report(
            "results/{dataset}/explain/explanations.png",
            category="{dataset}",
            caption="../report/explanations.rst",
        ),
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
            "pipeline.methods.dance.explain.pictures",
            "--input index {input.index:q}"
            " --input features {input.features:q} --input clips {input.clips:q}"
            " --input motion_concepts {input.motion_concepts:q} --input concept_layers {input.layers:q}"
            " --input classifier {input.classifier:q}"
            " --output motion_concepts {output.motion_concepts:q} --output explanations {output.explanations:q}",
        )


rule sanity:
    input:
        clips=over_shards("results/{dataset}/data/clips/{shard}.zarr.zip"),
        finetuned=with_tuning("results/{dataset}/backbone/finetuned/model.safetensors"),
        model="results/{dataset}/model.pt",
        activations="results/{dataset}/bottleneck/activations.zarr.zip",
        checkpoint=checkpoint(lambda section: section.backbone.features),
        code=code("pipeline.methods.dance.explain.sanity"),
    output:
        arrays="results/{dataset}/explain/sanity.zarr.zip",
        table="results/{dataset}/explain/sanity.parquet",
    log:
        "results/{dataset}/logs/sanity.log",
    conda:
        ENVIRONMENT
    threads: encoder_threads()
    resources:
        mem_mb=doubling(8000),
        runtime=doubling(120),
        gpu=gpus(),
    params:
        settings=settings("sanity"),
    shell:
        stage(
            "pipeline.methods.dance.explain.sanity",
            "--input clips {input.clips:q} --input model {input.model:q} --input activations {input.activations:q}"
            " --output sanity {output.arrays:q} --output sanity_table {output.table:q}",
        )


rule retrained:
    input:
        index="results/{dataset}/data/index.parquet",
        features=over_shards("results/{dataset}/backbone/features/{shard}.zarr.zip"),
        motion_labels=with_motion("results/{dataset}/motion/motion_labels.parquet"),
        pseudo_labels="results/{dataset}/context/pseudo_labels.zarr.zip",
        prompts=with_maps("results/{dataset}/context/prompts/{shard}.zarr.zip"),
        maps=with_maps("results/{dataset}/backbone/maps/{shard}.zarr.zip"),
        model="results/{dataset}/model.pt",
        activations="results/{dataset}/bottleneck/activations.zarr.zip",
        code=code("pipeline.methods.dance.explain.retrained"),
    output:
        arrays="results/{dataset}/explain/retrained.zarr.zip",
        table="results/{dataset}/explain/retrained.parquet",
    log:
        "results/{dataset}/logs/retrained.log",
    conda:
        ENVIRONMENT
    threads: workflow.cores
    resources:
        mem_mb=doubling(16000),
        runtime=doubling(600),
    params:
        settings=settings("retrained"),
    shell:
        stage(
            "pipeline.methods.dance.explain.retrained",
            "--input index {input.index:q} --input features {input.features:q}"
            " --input motion_labels {input.motion_labels:q} --input pseudo_labels {input.pseudo_labels:q}"
            " --input prompts {input.prompts:q} --input maps {input.maps:q}"
            " --input model {input.model:q} --input activations {input.activations:q}"
            " --output retrained {output.arrays:q} --output retrained_table {output.table:q}",
        )


rule report:
    input:
        index="results/{dataset}/data/index.parquet",
        clips=clips_unless_imported,
        poses=with_motion_shards("results/{dataset}/motion/poses/{shard}.zarr.zip"),
        pose_clips=with_motion_shards("results/{dataset}/motion/pose_clips/{shard}.zarr.zip"),
        motion_concepts=with_motion("results/{dataset}/motion/motion_concepts.zarr.zip"),
        concepts="results/{dataset}/context/concepts.parquet",
        features=over_shards("results/{dataset}/backbone/features/{shard}.zarr.zip"),
        maps=with_maps("results/{dataset}/backbone/maps/{shard}.zarr.zip"),
        table="results/{dataset}/bottleneck/concept_layers.parquet",
        classifier="results/{dataset}/bottleneck/classifier.zarr.zip",
        model="results/{dataset}/model.pt",
        metrics="results/{dataset}/metrics.json",
        activations="results/{dataset}/bottleneck/activations.zarr.zip",
        sanity=in_report("sanity", "results/{dataset}/explain/sanity.parquet"),
        retrained="results/{dataset}/explain/retrained.parquet",
        faithfulness=in_report("faithfulness", "results/{dataset}/demo/faithfulness.zarr.zip"),
        localisation=in_report("localise", "results/{dataset}/demo/localisation.parquet"),
        template=os.path.relpath(os.path.join(workflow.basedir, "pipeline/methods/dance/explain/page/template.html")),
        code=code("pipeline.methods.dance.explain.report"),
    output:
        report("results/{dataset}/report.html", category="{dataset}", caption="../report/report.rst"),
    log:
        "results/{dataset}/logs/report.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=doubling(8000),
        runtime=doubling(60),
    params:
        settings=settings("report"),
    shell:
        stage(
            "pipeline.methods.dance.explain.report",
            "--input index {input.index:q} --input clips {input.clips:q} --input poses {input.poses:q}"
            " --input pose_clips {input.pose_clips:q} --input motion_concepts {input.motion_concepts:q}"
            " --input concepts {input.concepts:q} --input features {input.features:q} --input maps {input.maps:q}"
            " --input concept_table {input.table:q} --input classifier {input.classifier:q}"
            " --input model {input.model:q} --input metrics {input.metrics:q} --input activations {input.activations:q}"
            " --input sanity {input.sanity:q} --input retrained {input.retrained:q}"
            " --input faithfulness {input.faithfulness:q} --input localisation {input.localisation:q}"
            " --output report {output:q}",
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
        code=code("pipeline.methods.dance.bottleneck.cross_domain"),
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
