"""From labelled images to a gated, versioned, served model: a TFX pipeline.

The parts are folders of the repository (``pipeline/``, ``components/``, ``serving/``,
``kubeflow/``), linked here so that installed they are one package and collide with nobody's.
"""
