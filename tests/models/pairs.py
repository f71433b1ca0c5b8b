"""One backbone under every decoder, from torch to INT8, as plain findings that a process can hand over."""

from __future__ import annotations

import copy
import gc
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import onnx_ir as ir
import onnxruntime
import torch
from onnx_ir.passes.common import RemoveUnusedNodesPass
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgeseg.card import Card, Dialect
from edgeseg.graph.attach import CLASS_MAP, FRAME, attach_head_and_tail
from edgeseg.graph.export import export_onnx
from edgeseg.graph.prepare import prepare_graph
from edgeseg.graph.verify import run_graph
from edgeseg.labels import voc_palette
from edgeseg.models.decoders import Segmenter
from edgeseg.models.registry import BACKBONES, DECODERS, PUBLISHED
from edgeseg.quantize.dialects import quantize_onnx
from edgeseg.quantize.lint import lint_tensorrt
from edgeseg.quantize.measure import measure_ranges
from edgeseg.quantize.ranges import Ranges, check_ranges
from edgeseg.quantize.rules import WEIGHTED, float_nodes
from tests.quantize.tiny import frames, quantizer_of, run

#: The second is odd, and its maps can't be cut into equal parts.
SIZES = ((64, 96), (71, 105))
TESTED: tuple[Dialect, ...] = ("u8-asym", "s8-sym")
CLASSES = ("ground", "tree", "car")
#: Narrow and shallow, so that all pairs take little time; and every output stride is among them.
OPTIONS: dict[str, dict[str, Any]] = {
    "liteseg": {"decoder_width": 16},
    "liteseg-mobilenetv2": {"detail": 8, "skips": (16, 8), "upsampling": "by_stride"},
    "liteseg-efficientnet-lite0": {"detail": 8, "upsampling": "half_pixel"},
    "lraspp": {"decoder_width": 16, "upsampling": "by_stride"},
    "deeplabv3plus": {"decoder_width": 16, "low_channels": 8, "upsampling": "by_stride"},
    "ppliteseg": {"decoder_channels": (8, 12, 16), "upsampling": "by_stride"},
    "fcn": {"decoder_width": 16},
    "unet": {"decoder_width": 4, "upsampling": "by_stride"},
    "mobilenetv1": {"width": 0.25, "output_stride": 16},
    "mobilenetv2": {"width": 0.25},
    "mobilenetv3-small": {"width": 0.5},
    "mobilenetv3-large": {"width": 0.5, "output_stride": 8},
    "shufflenet": {"output_stride": 16},
    "shufflenetv2": {"width": 0.5, "output_stride": 16},
    "efficientnet-lite0": {"width": 0.25},
    "efficientnet-lite1": {"width": 0.25, "stages": 5},
    "efficientnet-lite2": {"width": 0.25, "stages": 5, "output_stride": 8},
}


@dataclass
class Found:
    """What became of one pair.

    Attributes:
        error: By size, the relative error of the prepared graph's logits against torch's.
        equal: By size, the share of pixels that get the class that torch gives them.
        other_size: What is said of ranges that were measured at the other size.
        snr_db: By dialect, signal to noise of the logits against those in float, in decibels.
        fused: By dialect, whether the kernels that ONNX Runtime makes of the graph give numbers.
        in_float: By dialect, the operators with weights that should be in eight bits and are not.
        findings: What TensorRT would not take of the signed dialect.
    """

    error: dict[str, float] = field(default_factory=dict)
    equal: dict[str, float] = field(default_factory=dict)
    other_size: str = ""
    snr_db: dict[str, float] = field(default_factory=dict)
    fused: dict[str, bool] = field(default_factory=dict)
    in_float: dict[str, list[str]] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)


class EveryDecoder(nn.Module):
    """The logits of all decoders on one backbone, side by side: exporting costs more than all that comes after it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        backbone = BACKBONES[name](**OPTIONS.get(name, {}))
        self.nets = nn.ModuleList(
            decoder(backbone, len(CLASSES), **options(f"{own}-{name}")) for own, decoder in DECODERS.items()
        )

    def forward(self, x: Tensor) -> Tensor:
        nets = [cast("Segmenter", net) for net in self.nets]
        maps = nets[0].features()(x)
        return torch.cat([net.upsample(net.decode(maps), x) for net in nets], 1)


def options(pair: str) -> dict[str, Any]:
    """What a decoder is made with: as published, but narrow."""
    return PUBLISHED.get(pair, {}) | OPTIONS[pair.split("-")[0]] | OPTIONS.get(pair, {})


def check_backbone(name: str) -> dict[str, Found]:
    """What became of a backbone under each decoder, by the decoder's name; for a process of its own."""
    # The exporter makes so many small objects that looking for cycles among them takes a fifth of the time.
    gc.disable()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = with_statistics(EveryDecoder(name))
    card = Card(kind="graph", model=name, classes=CLASSES, palette=voc_palette(len(CLASSES)))
    together = export_onnx(quick_to_export(net), card)
    found = {}
    for index, (decoder, one) in enumerate(zip(DECODERS, net.nets, strict=True)):
        try:
            found[decoder] = check_pair(cast("Segmenter", one), alone(together, index), card)
        except Exception as error:
            raise AssertionError(f"{decoder}-{name}") from error
        gc.collect()
    return found


def check_pair(net: Segmenter, graph: ir.Model, card: Card) -> Found:
    found = Found()
    small, odd = (prepare_graph(graph, card, size_hw=size) for size in SIZES)
    for size, prepared in zip(SIZES, (small, odd), strict=True):
        compare_with_torch(net, prepared, size, found)
    ranges = measure_ranges(odd, frames(2, size_hw=SIZES[1]), calibration_sha256="c" * 64, threads=1)
    found.other_size = check_ranges(ranges, small)
    for dialect in TESTED:
        check_dialect(odd, ranges, dialect, found)
    return found


@torch.no_grad()
def compare_with_torch(net: Segmenter, prepared: ir.Model, size: tuple[int, int], found: Found) -> None:
    name, pixels = "{}x{}".format(*size), frames(1, seed=2, size_hw=size)[0]
    image = torch.from_numpy(np.ascontiguousarray(pixels[:, ::-1] / np.float32(128)))
    low, classes = net.forward_low(image).numpy(), net(image).argmax(1).numpy()
    found.error[name] = float(np.linalg.norm(run(prepared, pixels) - low) / np.linalg.norm(low))
    frame = (pixels + 128).astype(np.uint8).transpose(0, 2, 3, 1)
    whole = attach_head_and_tail(prepared, head="cast", upsample="full")
    found.equal[name] = float((run_graph(whole, {FRAME: frame}, CLASS_MAP) == classes).mean())


def check_dialect(prepared: ir.Model, ranges: Ranges, dialect: Dialect, found: Found) -> None:
    quantized = quantize_onnx(prepared, ranges, dialect=dialect)
    pixels = frames(1, seed=2, size_hw=SIZES[1])[0]
    wanted, got = run(prepared, pixels), run(quantized, pixels)
    found.snr_db[dialect] = 10 * float(np.log10(np.sum(wanted**2) / np.sum((wanted - got) ** 2)))
    session = onnxruntime.InferenceSession(ir.to_proto(quantized).SerializeToString())
    fused = session.run(None, {"pixels": pixels})[0]
    found.fused[dialect] = fused.shape == wanted.shape and bool(np.isfinite(fused).all())
    kept = float_nodes(prepared.graph)
    weighted = [node for node in quantized.graph if node.op_type in WEIGHTED and node.name not in kept]
    found.in_float[dialect] = [node.name or "" for node in weighted if quantizer_of(node.inputs[0]) is None]
    if dialect == "s8-sym":
        found.findings.extend(str(finding) for finding in lint_tensorrt(quantized))


@torch.no_grad()
def with_statistics(net: EveryDecoder) -> EveryDecoder:
    """In eval mode, every map of about the same magnitude, as in a trained network.

    One variance for all channels of a layer: with their own, weak channels would be blown up layer by layer.
    """
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    net.train()(torch.from_numpy(np.concatenate(frames(4, seed=3, size_hw=SIZES[0]))) / 128)
    for norm in norms:
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_var.fill_((norm.running_var + norm.running_mean**2).mean())
        norm.running_mean.zero_()
    return net.eval()


def quick_to_export(net: EveryDecoder) -> EveryDecoder:
    """A copy that computes the same without what the exporter spends most of its time on."""
    net = copy.deepcopy(net)
    for module in net.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
        if isinstance(module, nn.Sequential):
            for index in range(len(module) - 1):
                conv, norm = module[index], module[index + 1]
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    module[index], module[index + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return net


def alone(together: ir.Model, index: int) -> ir.Model:
    """The graph of one decoder out of that of all."""
    model = together.clone()
    old = model.graph.outputs[0]
    concat = old.producer()
    assert concat is not None and concat.op_type == "Concat"
    logits = concat.inputs[index]
    assert logits is not None
    logits.name, logits.type, logits.shape = "logits.alone", old.type, ir.Shape(["N", len(CLASSES), "H", "W"])
    model.graph.outputs[:] = [logits]
    RemoveUnusedNodesPass()(model)
    return model
