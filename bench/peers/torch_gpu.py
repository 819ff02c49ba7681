"""What a user would run instead on one GPU: PyTorch's attention, and training steps of transformers' Llama.

usage: python3 bench/peers/torch_gpu.py

The shapes of bench.gpu.kernels and bench.gpu.layers: attention of 8,192 tokens with 32 query and 8 key/value heads of 128,
and steps of four layers of Llama-3-8B with its vocabulary, and of SmolLM2-135M. bf16 weights; the optimizer is PyTorch's
fused AdamW on fp32 master weights, from which the bf16 ones are copied after each step, gradients are clipped to norm 1. Eager, and
compiled with torch.compile.
"""
import statistics
import time

import torch
import torch.nn.functional as F
import transformers

DEVICE = "cuda"


def seconds(run, repetitions=10, groups=5):
    """Median over groups of the time of one run."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    times = []
    for _ in range(groups):
        start = time.perf_counter()
        for _ in range(repetitions):
            run()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / repetitions)
    return statistics.median(times)


def attention():
    tokens, heads, groups, width = 8192, 32, 8, 128
    q = torch.randn(1, heads, tokens, width, device=DEVICE, dtype=torch.bfloat16, requires_grad=True)
    k, v = (torch.randn(1, groups, tokens, width, device=DEVICE, dtype=torch.bfloat16, requires_grad=True)
            for _ in range(2))
    dout = torch.randn(1, heads, tokens, width, device=DEVICE, dtype=torch.bfloat16)
    backends = {"FlashAttention-2": torch.nn.attention.SDPBackend.FLASH_ATTENTION,
                "cuDNN": torch.nn.attention.SDPBackend.CUDNN_ATTENTION}
    for name, backend in backends.items():
        try:
            with torch.nn.attention.sdpa_kernel(backend):
                forward = seconds(lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True))
                out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
                both = seconds(lambda: torch.autograd.grad(out, (q, k, v), dout, retain_graph=True))
            print(f"attention, causal, {name}: forward {1e3 * forward:.3f} ms, backward {1e3 * both:.3f} ms", flush=True)
        except RuntimeError as error:
            print(f"attention, causal, {name}: {str(error).splitlines()[0]}", flush=True)


def llama(layers, hidden, mlp, heads, groups, vocabulary, tied):
    return transformers.LlamaConfig(
        num_hidden_layers=layers, hidden_size=hidden, intermediate_size=mlp, num_attention_heads=heads,
        num_key_value_heads=groups, vocab_size=vocabulary, tie_word_embeddings=tied, max_position_embeddings=8192,
        attn_implementation="sdpa")


def step(name, config, slots, rows, length, compiled):
    torch.manual_seed(0)
    with torch.device(DEVICE):  # random weights of that size take a CPU a minute
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    weights = list(model.parameters())
    masters = [w.detach().float() for w in weights]
    optimizer = torch.optim.AdamW(masters, lr=1e-4, fused=True)
    run = torch.compile(model) if compiled else model
    batches = [torch.randint(0, config.vocab_size, (rows, length), device=DEVICE) for _ in range(slots)]

    def one_step():
        for batch in batches:
            (run(input_ids=batch, labels=batch).loss / slots).backward()
        for master, weight in zip(masters, weights):
            master.grad = weight.grad.float()
            weight.grad = None
        torch.nn.utils.clip_grad_norm_(masters, 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_copy_(weights, masters)

    try:
        time_of_step = seconds(one_step, repetitions=1)
        kind = "compiled" if compiled else "eager"
        print(f"{name}, {slots} x {rows} x {length}, {kind}: {1e3 * time_of_step:.2f} ms, "
              f"{slots * rows * length / time_of_step:.0f} tokens/s, "
              f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB", flush=True)
    except (RuntimeError, torch.OutOfMemoryError) as error:
        print(f"{name}: {str(error).splitlines()[0]}", flush=True)
    del model, weights, masters, optimizer, run
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def main():
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, transformers {transformers.__version__}")
    attention()
    large = llama(4, 4096, 14336, 32, 8, 128256, False)
    small = llama(30, 576, 1536, 9, 3, 49152, True)
    for compiled in (False, True):
        step("Llama-3-8B, 4 layers", large, 1, 1, 8192, compiled)
        step("Llama-3-8B, 4 layers", large, 2, 1, 8192, compiled)
        step("SmolLM2-135M", small, 1, 4, 512, compiled)
        step("SmolLM2-135M", small, 1, 8, 2048, compiled)


main()
