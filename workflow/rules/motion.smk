rule poses:
    input:
        index=ancient(index_of),
        videos=videos_of_shard,
        imported=under_root(lambda section: section.motion.poses, "path"),
        boxes=under_root(lambda section: section.motion.poses, "boxes_path"),
        checkpoint=checkpoint(lambda section: section.motion.poses, "model", "detector"),
        code=code("pipeline.motion.poses"),
    output:
        "results/{dataset}/motion/poses/{shard}.zarr.zip",
    log:
        "results/{dataset}/logs/poses/{shard}.log",
    priority: LONGEST
    conda:
        ENVIRONMENT
    threads: encoder_threads()
    resources:
        mem_mb=doubling(8000),
        runtime=doubling(60),
        gpu=gpus(),
    params:
        settings=settings("poses"),
        members=members,
    shell:
        stage(
            "pipeline.motion.poses",
            "--shard {wildcards.shard}" " --input index {input.index:q} --output poses {output:q}",
        )


rule keyframes:
    input:
        index=ancient(index_of),
        signal=unless_imported("keyframes", "results/{dataset}/data/signal/{shard}.zarr.zip"),
        imported=under_root(lambda section: section.motion.keyframes, "path"),
        code=code("pipeline.motion.keyframes"),
    output:
        "results/{dataset}/motion/keyframes/{shard}.parquet",
    log:
        "results/{dataset}/logs/keyframes/{shard}.log",
    priority: WAITED_FOR
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=doubling(2000),
        runtime=doubling(20),
    params:
        settings=settings("keyframes"),
        members=members,
    shell:
        stage(
            "pipeline.motion.keyframes",
            "--shard {wildcards.shard}"
            " --input index {input.index:q} --input signal {input.signal:q} --output keyframes {output:q}",
        )


rule pose_clips:
    input:
        poses="results/{dataset}/motion/poses/{shard}.zarr.zip",
        keyframes="results/{dataset}/motion/keyframes/{shard}.parquet",
        code=code("pipeline.motion.pose_clips"),
    output:
        "results/{dataset}/motion/pose_clips/{shard}.zarr.zip",
    log:
        "results/{dataset}/logs/pose_clips/{shard}.log",
    priority: WAITED_FOR
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=doubling(4000),
        runtime=doubling(30),
    params:
        settings=settings("pose_clips"),
    shell:
        stage(
            "pipeline.motion.pose_clips",
            "--shard {wildcards.shard}"
            " --input poses {input.poses:q} --input keyframes {input.keyframes:q} --output pose_clips {output:q}",
        )


rule motion_concepts:
    input:
        index="results/{dataset}/data/index.parquet",
        pose_clips=over_shards("results/{dataset}/motion/pose_clips/{shard}.zarr.zip"),
        imported=under_root(lambda section: section.motion.motion_concepts, "path"),
        code=code("pipeline.motion.motion_concepts"),
    output:
        concepts="results/{dataset}/motion/motion_concepts.zarr.zip",
        labels="results/{dataset}/motion/motion_labels.parquet",
    log:
        "results/{dataset}/logs/motion_concepts.log",
    priority: WAITED_FOR
    conda:
        ENVIRONMENT
    threads: workflow.cores
    resources:
        mem_mb=doubling(8000),
        runtime=doubling(60),
    params:
        settings=settings("motion_concepts"),
    shell:
        stage(
            "pipeline.motion.motion_concepts",
            "--input index {input.index:q}"
            " --input pose_clips {input.pose_clips:q}"
            " --output motion_concepts {output.concepts:q} --output motion_labels {output.labels:q}",
        )
