rule dual_encoder:
    input:
        index=ancient(index_of),
        clips=unless_imported("dual_encoder", "results/{dataset}/data/clips/{shard}.zarr.zip"),
        imported=under_root(lambda section: section.context.dual_encoder, "path"),
        checkpoint=checkpoint(lambda section: section.context.dual_encoder),
        code=code("pipeline.context.dual_encoder"),
    output:
        "results/{dataset}/context/dual_encoder/{shard}.zarr.zip",
    log:
        "results/{dataset}/logs/dual_encoder/{shard}.log",
    priority: WAITED_FOR
    conda:
        ENVIRONMENT
    threads: encoder_threads()
    resources:
        mem_mb=doubling(6000),
        runtime=doubling(60),
        gpu=gpus(),
    params:
        settings=settings("dual_encoder"),
        members=members,
    shell:
        stage(
            "pipeline.context.dual_encoder",
            "--shard {wildcards.shard}"
            " --input index {input.index:q} --input clips {input.clips:q} --output dual_encoder {output:q}",
        )


rule prompts:
    input:
        index=ancient(index_of),
        clips="results/{dataset}/data/clips/{shard}.zarr.zip",
        checkpoint=checkpoint(lambda section: section.context.prompts),
        code=code("pipeline.context.prompts"),
    output:
        "results/{dataset}/context/prompts/{shard}.zarr.zip",
    log:
        "results/{dataset}/logs/prompts/{shard}.log",
    priority: LONGEST
    conda:
        ENVIRONMENT
    threads: encoder_threads()
    resources:
        mem_mb=doubling(6000),
        runtime=doubling(240),
        gpu=gpus(),
    params:
        settings=settings("prompts"),
        learned_from=learned_from,
    shell:
        stage(
            "pipeline.context.prompts",
            "--shard {wildcards.shard}"
            " --input index {input.index:q} --input clips {input.clips:q} --output prompts {output:q}",
        )


rule candidates:
    input:
        index="results/{dataset}/data/index.parquet",
        names=under_root(lambda section: section.context.candidates, "names"),
        code=code("pipeline.context.candidates"),
    output:
        "results/{dataset}/context/candidates.parquet",
    log:
        "results/{dataset}/logs/candidates.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=doubling(2000),
        runtime=doubling(120),
    params:
        settings=settings("candidates"),
    shell:
        stage(
            "pipeline.context.candidates",
            "--input index {input.index:q} --output candidates {output:q}",
        )


rule texts:
    input:
        index="results/{dataset}/data/index.parquet",
        collected=with_candidates("results/{dataset}/context/candidates.parquet"),
        candidates=under_root(lambda section: section.context.texts, "candidates", "path"),
        checkpoint=checkpoint(lambda section: section.context.texts),
        code=code("pipeline.context.texts"),
    output:
        "results/{dataset}/context/texts.zarr.zip",
    log:
        "results/{dataset}/logs/texts.log",
    priority: WAITED_FOR
    conda:
        ENVIRONMENT
    threads: encoder_threads()
    resources:
        mem_mb=doubling(6000),
        runtime=doubling(30),
        gpu=gpus(),
    params:
        settings=settings("texts"),
    shell:
        stage(
            "pipeline.context.texts",
            "--input index {input.index:q} --input candidates {input.collected:q} --output texts {output:q}",
        )


rule concepts:
    input:
        index="results/{dataset}/data/index.parquet",
        dual_encoder=over_shards("results/{dataset}/context/dual_encoder/{shard}.zarr.zip"),
        texts="results/{dataset}/context/texts.zarr.zip",
        code=code("pipeline.context.concepts"),
    output:
        concepts="results/{dataset}/context/concepts.parquet",
        pseudo_labels="results/{dataset}/context/pseudo_labels.zarr.zip",
    log:
        "results/{dataset}/logs/concepts.log",
    priority: WAITED_FOR
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=doubling(4000),
        runtime=doubling(30),
    params:
        settings=settings("concepts"),
    shell:
        stage(
            "pipeline.context.concepts",
            "--input index {input.index:q}"
            " --input dual_encoder {input.dual_encoder:q} --input texts {input.texts:q}"
            " --output concepts {output.concepts:q} --output pseudo_labels {output.pseudo_labels:q}",
        )


rule sentences:
    input:
        index="results/{dataset}/data/index.parquet",
        dual_encoder=over_shards("results/{dataset}/context/dual_encoder/{shard}.zarr.zip"),
        files=under_root(lambda section: section.context.sentences, "files"),
        checkpoint=checkpoint(
            lambda section: section.context.sentences if section.context.sentences.model else section.context.texts
        ),
        code=code("pipeline.context.sentences"),
    output:
        sentences="results/{dataset}/context/sentences.parquet",
        labels="results/{dataset}/context/sentence_labels.zarr.zip",
    log:
        "results/{dataset}/logs/sentences.log",
    conda:
        ENVIRONMENT
    threads: encoder_threads()
    resources:
        mem_mb=doubling(6000),
        runtime=doubling(30),
        gpu=gpus(),
    params:
        settings=settings("sentences"),
    shell:
        stage(
            "pipeline.context.sentences",
            "--input index {input.index:q} --input dual_encoder {input.dual_encoder:q}"
            " --output sentences {output.sentences:q} --output sentence_labels {output.labels:q}",
        )
