rule concept_layers:
    input:
        index="results/{dataset}/data/index.parquet",
        features=over_shards("results/{dataset}/backbone/features/{shard}.zarr.zip"),
        motion_concepts=with_motion("results/{dataset}/motion/motion_concepts.zarr.zip"),
        motion_labels=with_motion("results/{dataset}/motion/motion_labels.parquet"),
        concepts="results/{dataset}/context/concepts.parquet",
        pseudo_labels="results/{dataset}/context/pseudo_labels.zarr.zip",
        prompts=with_maps("results/{dataset}/context/prompts/{shard}.zarr.zip"),
        maps=with_maps("results/{dataset}/backbone/maps/{shard}.zarr.zip"),
        code=code("pipeline.methods.dance.bottleneck.concept_layers"),
    output:
        layers="results/{dataset}/bottleneck/concept_layers.zarr.zip",
        table="results/{dataset}/bottleneck/concept_layers.parquet",
    log:
        "results/{dataset}/logs/concept_layers.log",
    priority: WAITED_FOR
    conda:
        ENVIRONMENT
    threads: workflow.cores
    resources:
        mem_mb=doubling(8000),
        runtime=doubling(120),
    params:
        settings=settings("concept_layers"),
    shell:
        stage(
            "pipeline.methods.dance.bottleneck.concept_layers",
            "--input index {input.index:q}"
            " --input features {input.features:q} --input motion_concepts {input.motion_concepts:q}"
            " --input motion_labels {input.motion_labels:q} --input concepts {input.concepts:q}"
            " --input pseudo_labels {input.pseudo_labels:q}"
            " --input prompts {input.prompts:q} --input maps {input.maps:q}"
            " --output concept_layers {output.layers:q} --output concept_table {output.table:q}",
        )


rule classifier:
    input:
        index="results/{dataset}/data/index.parquet",
        features=over_shards("results/{dataset}/backbone/features/{shard}.zarr.zip"),
        layers="results/{dataset}/bottleneck/concept_layers.zarr.zip",
        code=code("pipeline.methods.dance.bottleneck.classifier"),
    output:
        "results/{dataset}/bottleneck/classifier.zarr.zip",
    log:
        "results/{dataset}/logs/classifier.log",
    conda:
        ENVIRONMENT
    threads: workflow.cores
    resources:
        mem_mb=doubling(8000),
        runtime=doubling(240),
    params:
        settings=settings("classifier"),
    shell:
        stage(
            "pipeline.methods.dance.bottleneck.classifier",
            "--input index {input.index:q}"
            " --input features {input.features:q} --input concept_layers {input.layers:q}"
            " --output classifier {output:q}",
        )


rule baselines:
    input:
        index="results/{dataset}/data/index.parquet",
        features=over_shards("results/{dataset}/backbone/features/{shard}.zarr.zip"),
        pseudo_labels=for_baselines("lf-cbm-disentangled", "results/{dataset}/context/pseudo_labels.zarr.zip"),
        sentence_labels=for_baselines("lf-cbm", "results/{dataset}/context/sentence_labels.zarr.zip"),
        attributes=under_root(lambda section: section.bottleneck.baselines, "attributes"),
        code=code("pipeline.methods.dance.bottleneck.baselines"),
    output:
        "results/{dataset}/bottleneck/baselines.zarr.zip",
    log:
        "results/{dataset}/logs/baselines.log",
    conda:
        ENVIRONMENT
    threads: workflow.cores
    resources:
        mem_mb=doubling(8000),
        runtime=doubling(120),
    params:
        settings=settings("baselines"),
    shell:
        stage(
            "pipeline.methods.dance.bottleneck.baselines",
            "--input index {input.index:q} --input features {input.features:q}"
            " --input pseudo_labels {input.pseudo_labels:q} --input sentence_labels {input.sentence_labels:q}"
            " --output baselines {output:q}",
        )


rule baseline_model:
    input:
        finetune=with_tuning("results/{dataset}/backbone/finetune.parquet"),
        finetuned=with_tuning("results/{dataset}/backbone/finetuned/model.safetensors"),
        baselines="results/{dataset}/bottleneck/baselines.zarr.zip",
        code=code("pipeline.methods.dance.bottleneck.baseline_model"),
    output:
        "results/{dataset}/baselines/{kind}.pt",
    log:
        "results/{dataset}/logs/baseline_model/{kind}.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=doubling(2000),
        runtime=doubling(20),
    params:
        settings=settings("baseline_model"),
    shell:
        stage(
            "pipeline.methods.dance.bottleneck.baseline_model",
            "--input finetune {input.finetune:q} --input finetuned {input.finetuned:q}"
            " --input baselines {input.baselines:q} --output model {output:q}",
        )


rule model:
    input:
        index="results/{dataset}/data/index.parquet",
        finetune=with_tuning("results/{dataset}/backbone/finetune.parquet"),
        finetuned=with_tuning("results/{dataset}/backbone/finetuned/model.safetensors"),
        features=over_shards("results/{dataset}/backbone/features/{shard}.zarr.zip"),
        motion_concepts=with_motion("results/{dataset}/motion/motion_concepts.zarr.zip"),
        layers="results/{dataset}/bottleneck/concept_layers.zarr.zip",
        table="results/{dataset}/bottleneck/concept_layers.parquet",
        classifier="results/{dataset}/bottleneck/classifier.zarr.zip",
        evaluation=lambda wc: (
            f"results/{wc.dataset}/demo/evaluation.parquet"
            if is_generated(wc.dataset) and has_motion(section(wc))
            else []
        ),
        baselines=for_baselines("", "results/{dataset}/bottleneck/baselines.zarr.zip"),
        # Delivered together: whoever asks for the model gets the pictures that explain it.
        pictures=[
            "results/{dataset}/explain/motion_concepts.png",
            "results/{dataset}/explain/explanations.png",
        ],
        code=code("pipeline.methods.dance.bottleneck.model"),
    output:
        model="results/{dataset}/model.pt",
        metrics="results/{dataset}/metrics.json",
        activations="results/{dataset}/bottleneck/activations.zarr.zip",
    log:
        "results/{dataset}/logs/model.log",
    conda:
        ENVIRONMENT
    threads: workflow.cores
    resources:
        mem_mb=doubling(4000),
        runtime=doubling(30),
    params:
        settings=settings("model"),
    shell:
        stage(
            "pipeline.methods.dance.bottleneck.model",
            "--input index {input.index:q}"
            " --input finetune {input.finetune:q} --input finetuned {input.finetuned:q}"
            " --input features {input.features:q} --input motion_concepts {input.motion_concepts:q}"
            " --input concept_layers {input.layers:q} --input concept_table {input.table:q}"
            " --input classifier {input.classifier:q} --input evaluation {input.evaluation:q}"
            " --input baselines {input.baselines:q}"
            " --output model {output.model:q} --output metrics {output.metrics:q}"
            " --output activations {output.activations:q}",
        )
