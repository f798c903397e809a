"""VLM-R3 beside others on the paper's benchmarks: the same prompts, pixels and scorers for all.

    python launch/compare.py --config=configs/comparison.py --output=runs/comparison

Snapshots of the benchmarks lie in data/, by their names at Hugging Face (docs/evaluation.md).
Models that are not here answer behind endpoints: those that somebody serves by their address, the
others with their keys in the environment. What one of them cannot be asked stays empty, and is
asked the next time.
"""

import ml_collections

LOCAL = "http://localhost:8000/v1"
INSTRUCTION = "Reason step by step, then give only the final answer inside <answer></answer>."


def get_config() -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(
        {
            "models": (
                {
                    "name": "GPT-4o",
                    "endpoint": "https://api.openai.com/v1",
                    "endpoint_model": "gpt-4o",
                    "endpoint_key": "OPENAI_API_KEY",
                },
                {
                    "name": "Gemini",
                    "endpoint": "https://generativelanguage.googleapis.com/v1beta/openai",
                    "endpoint_model": "gemini-2.0-flash",
                    "endpoint_key": "GEMINI_API_KEY",
                },
                {"name": "LLaVA-CoT", "endpoint": LOCAL, "endpoint_model": "Llama-3.2V-11B-cot"},
                {"name": "Mulberry", "endpoint": LOCAL, "endpoint_model": "Mulberry_qwen2vl_7b"},
                {
                    "name": "Qwen2.5-VL-7B",
                    "model": "models/Qwen2.5-VL-7B-Instruct",
                    "instruction": INSTRUCTION,
                    "max_looks": 0,
                },
                {"name": "VLM-R3", "model": "runs/rgrpo/export"},
            ),
            "benchmarks": (
                {"name": "MathVista", "data": "data/MathVista"},
                {"name": "MathVision", "data": "data/MathVision"},
                {"name": "MMMU", "data": "data/MMMU"},
                {"name": "ScienceQA", "data": "data/ScienceQA/ScienceQA-IMG"},
                {"name": "HallusionBench", "data": "data/HallusionBench", "number": "avg"},
                {"name": "DocVQA", "data": "data/DocVQA/DocVQA"},
                {"name": "V*", "data": "data/vstar_bench"},
                {"name": "MMVP", "data": "data/MMVP"},
                {
                    "name": "HR-Bench 4K",
                    "benchmark": "HR-Bench",
                    "data": "data/HR-Bench/hr_bench_4k.parquet",
                },
                {"name": "MME-RealWorld", "data": "data/MME-RealWorld-Lmms-eval"},
            ),
            # Pixel bounds of the published evaluation.
            "common": {"image_tokens": "32,8192", "dtype": "bfloat16"},
        }
    )
