from snakemake.utils import min_version

min_version("9.27")


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/demo.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/motion.smk"
include: "workflow/rules/context.smk"
include: "workflow/rules/backbone.smk"
include: "workflow/rules/bottleneck.smk"
include: "workflow/rules/explain.smk"


rule all:
    default_target: True
    input:
        expand("results/{dataset}/model.pt", dataset=["demo"]),
