"""The same SavedModel in this process, as a script would use it; run by serve.py.

Prints JSON: how long the import, loading and warm-up take, images per second and CPU at batch 64,
and the latency of a batch of one.
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def main() -> None:
    """Measures."""
    model, data, duration = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    start = time.perf_counter()
    import tensorflow as tf

    serve = tf.saved_model.load(model).signatures["serving_default"]
    warm_up = Path(model) / "assets.extra" / "tf_serving_warmup_requests"
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    for record in tf.data.TFRecordDataset(str(warm_up)).as_numpy_iterator():
        request = PredictionLog.FromString(record).predict_log.request
        serve(image_bytes=tf.constant(tf.make_ndarray(request.inputs["image_bytes"])))
    ready = time.perf_counter() - start
    import serve_load

    images = serve_load.images(data / "cifar10", 1000)

    def run(size: int) -> dict[str, float]:
        def ask(at: int) -> None:
            batch = images[at % (len(images) - size) :][:size]
            answer = serve(image_bytes=tf.constant(batch))
            _ = [answer[name].numpy() for name in ("classes", "scores")]

        for at in range(5):
            ask(at)
        seconds = []
        cpu, begin = time.process_time(), time.perf_counter()
        while time.perf_counter() - begin < duration:
            start = time.perf_counter()
            ask(len(seconds) * size)
            seconds.append(time.perf_counter() - start)
        count = len(seconds) * size
        seconds.sort()
        return {
            "images_per_second": count / (time.perf_counter() - begin),
            "server_cpu_us": 1e6 * (time.process_time() - cpu) / count,
            "p50_ms": 1000 * seconds[len(seconds) // 2],
        }

    print(json.dumps({"ready_seconds": ready, "64": run(64), "1": run(1)}))


if __name__ == "__main__":
    main()
