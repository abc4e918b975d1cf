"""Answer CrossEncoder.rank() over standard input and output. Runs in the peer's environment.

    python sentence_transformers_worker.py FOLDER torch|onnx THREADS

One JSON line a call: {"query", "documents", "batch_size"}; one JSON line back: the scores in the
documents' order.
"""

import json
import os
import sys
from pathlib import Path


def main() -> None:
    folder, backend, threads = sys.argv[1:]
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    sys.stdout = sys.stderr  # what libraries print is not an answer

    import torch
    from sentence_transformers import CrossEncoder

    torch.set_num_threads(int(threads))
    options = {}
    if backend == "onnx":
        import onnxruntime

        session_options = onnxruntime.SessionOptions()
        session_options.intra_op_num_threads = int(threads)
        [model_file] = Path(folder).glob("onnx/*.onnx")  # another name than model.onnx it is told
        options = {
            "provider": "CPUExecutionProvider",
            "session_options": session_options,
            "file_name": f"onnx/{model_file.name}",
        }
    model = CrossEncoder(folder, device="cpu", backend=backend, model_kwargs=options)
    answers.write("ready\n")
    for line in sys.stdin:
        call = json.loads(line)
        ranked = model.rank(call["query"], call["documents"], batch_size=call["batch_size"])
        scores = [0.0] * len(ranked)
        for each in ranked:
            scores[each["corpus_id"]] = float(each["score"])
        answers.write(json.dumps(scores) + "\n")


if __name__ == "__main__":
    main()
