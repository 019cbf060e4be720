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
        code=code("pipeline.methods.dance.truth.evaluate"),
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
            "pipeline.methods.dance.truth.evaluate",
            "--input index {input.index:q}"
            " --input truth {input.truth:q} --input poses {input.poses:q} --input dual_encoder {input.dual_encoder:q}"
            " --output evaluation {output:q}",
        )


rule localise:
    input:
        index="results/{dataset}/data/index.parquet",
        truth="results/{dataset}/demo/truth.zarr.zip",
        clips=over_shards("results/{dataset}/data/clips/{shard}.zarr.zip"),
        finetune=with_tuning("results/{dataset}/backbone/finetune.parquet"),
        finetuned=with_tuning("results/{dataset}/backbone/finetuned/model.safetensors"),
        features=over_shards("results/{dataset}/backbone/features/{shard}.zarr.zip"),
        maps=with_maps("results/{dataset}/backbone/maps/{shard}.zarr.zip"),
        pseudo_labels="results/{dataset}/context/pseudo_labels.zarr.zip",
        layers="results/{dataset}/bottleneck/concept_layers.zarr.zip",
        classifier="results/{dataset}/bottleneck/classifier.zarr.zip",
        checkpoint=checkpoint(lambda section: section.backbone.features),
        prompting=checkpoint(lambda section: section.context.prompts),
        code=code("pipeline.methods.dance.truth.localise"),
    output:
        "results/{dataset}/demo/localisation.parquet",
    log:
        "results/{dataset}/logs/localise.log",
    conda:
        ENVIRONMENT
    threads: workflow.cores
    resources:
        mem_mb=doubling(8000),
        runtime=doubling(60),
        gpu=gpus(),
    params:
        settings=settings("localise"),
    shell:
        stage(
            "pipeline.methods.dance.truth.localise",
            "--input index {input.index:q} --input truth {input.truth:q} --input clips {input.clips:q}"
            " --input finetune {input.finetune:q} --input finetuned {input.finetuned:q}"
            " --input features {input.features:q} --input maps {input.maps:q}"
            " --input pseudo_labels {input.pseudo_labels:q} --input concept_layers {input.layers:q}"
            " --input classifier {input.classifier:q} --output localisation {output:q}",
        )


rule counterfactuals:
    input:
        clips=over_shards("results/{dataset}/data/clips/{shard}.zarr.zip"),
        finetuned=with_tuning("results/{dataset}/backbone/finetuned/model.safetensors"),
        model="results/{dataset}/model.pt",
        activations="results/{dataset}/bottleneck/activations.zarr.zip",
        checkpoint=checkpoint(lambda section: section.backbone.features),
        code=code("pipeline.methods.dance.truth.counterfactuals"),
    output:
        "results/{dataset}/demo/counterfactuals.zarr.zip",
    log:
        "results/{dataset}/logs/counterfactuals.log",
    conda:
        ENVIRONMENT
    threads: encoder_threads()
    resources:
        mem_mb=doubling(8000),
        runtime=doubling(60),
        gpu=gpus(),
    params:
        settings=settings("counterfactuals"),
    shell:
        stage(
            "pipeline.methods.dance.truth.counterfactuals",
            "--input clips {input.clips:q} --input model {input.model:q} --input activations {input.activations:q}"
            " --output counterfactuals {output:q}",
        )


rule faithfulness:
    input:
        truth="results/{dataset}/demo/truth.zarr.zip",
        motion_labels=with_motion("results/{dataset}/motion/motion_labels.parquet"),
        model="results/{dataset}/model.pt",
        activations="results/{dataset}/bottleneck/activations.zarr.zip",
        counterfactuals="results/{dataset}/demo/counterfactuals.zarr.zip",
        code=code("pipeline.methods.dance.truth.faithfulness"),
    output:
        "results/{dataset}/demo/faithfulness.zarr.zip",
    log:
        "results/{dataset}/logs/faithfulness.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=doubling(4000),
        runtime=doubling(30),
    params:
        settings=settings("faithfulness"),
    shell:
        stage(
            "pipeline.methods.dance.truth.faithfulness",
            "--input truth {input.truth:q} --input motion_labels {input.motion_labels:q} --input model {input.model:q}"
            " --input activations {input.activations:q} --input counterfactuals {input.counterfactuals:q}"
            " --output faithfulness {output:q}",
        )
