"""Networks that nobody here wrote, from `transformers`, small and with random weights.

Each is named, and made with the keyword arguments that it is called with. Nothing is downloaded.
"""

from collections.abc import Callable
from typing import Any

import torch
import transformers as hf
from torch import nn

Case = tuple[nn.Module, dict[str, Any]]
WIDTHS = [16, 24, 32, 48]
ONCE = [1, 1, 1, 1]
TOKENS = {
    "image_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
DETECTOR = {
    "encoder_hidden_dim": 32,
    "encoder_in_channels": [24, 32, 48],
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "d_model": 32,
    "decoder_in_channels": [32, 32, 32],
    "num_queries": 20,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "num_labels": 5,
    "hidden_expansion": 0.5,
    "num_denoising": 0,
    "anchor_image_size": None,
}


def pixels(side: int = 64, count: int = 2) -> dict[str, Any]:
    return {"pixel_values": torch.rand(count, 3, side, side)}


def resnet_backbone(*stages: str) -> Any:
    return hf.ResNetConfig(
        embedding_size=16, hidden_sizes=WIDTHS, depths=ONCE, out_features=list(stages)
    )


def rt_detr_backbone() -> Any:
    return hf.RTDetrResNetConfig(
        embedding_size=16,
        hidden_sizes=WIDTHS,
        depths=ONCE,
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )


def hgnet_config(**more: Any) -> Any:
    return hf.HGNetV2Config(
        stem_channels=[3, 8, 16],
        stage_in_channels=[16, 16, 24, 32],
        stage_mid_channels=[8, 8, 16, 16],
        stage_out_channels=WIDTHS,
        stage_num_blocks=ONCE,
        stage_numb_of_layers=[2, 2, 2, 2],
        hidden_sizes=WIDTHS,
        depths=ONCE,
        **more,
    )


def resnet() -> Case:
    config = hf.ResNetConfig(embedding_size=16, hidden_sizes=WIDTHS, depths=[1, 2, 1, 1])
    return hf.ResNetForImageClassification(config), pixels()


def regnet() -> Case:
    config = hf.RegNetConfig(
        embedding_size=16, hidden_sizes=[16, 32, 48, 64], depths=[1, 2, 1, 1], groups_width=8
    )
    return hf.RegNetForImageClassification(config), pixels()


def convnext() -> Case:
    config = hf.ConvNextConfig(hidden_sizes=WIDTHS, depths=ONCE, layer_scale_init_value=0.5)
    return hf.ConvNextForImageClassification(config), pixels()


def convnext_v2() -> Case:
    config = hf.ConvNextV2Config(hidden_sizes=WIDTHS, depths=ONCE)
    return hf.ConvNextV2ForImageClassification(config), pixels()


def mobilenet_v1() -> Case:
    config = hf.MobileNetV1Config(depth_multiplier=0.25)
    return hf.MobileNetV1ForImageClassification(config), pixels()


def mobilenet_v2() -> Case:
    config = hf.MobileNetV2Config(depth_multiplier=0.35)
    return hf.MobileNetV2ForImageClassification(config), pixels()


def efficientnet() -> Case:
    config = hf.EfficientNetConfig(
        width_coefficient=0.25, depth_coefficient=0.5, hidden_dim=320, image_size=64
    )
    return hf.EfficientNetForImageClassification(config), pixels()


def swin() -> Case:
    config = hf.SwinConfig(
        image_size=64, embed_dim=16, depths=[1, 2], num_heads=[2, 4], window_size=4
    )
    return hf.SwinForImageClassification(config), pixels()


def swin_v2() -> Case:
    config = hf.Swinv2Config(
        image_size=64, embed_dim=16, depths=[1, 2], num_heads=[2, 4], window_size=4
    )
    return hf.Swinv2ForImageClassification(config), pixels()


def vit() -> Case:
    return hf.ViTForImageClassification(hf.ViTConfig(**TOKENS)), pixels()


def dinov2() -> Case:
    return hf.Dinov2ForImageClassification(hf.Dinov2Config(**TOKENS)), pixels(56)


def rt_detr() -> Case:
    config = hf.RTDetrConfig(backbone_config=rt_detr_backbone(), **DETECTOR)
    return hf.RTDetrForObjectDetection(config), pixels(96, 1)


def rt_detr_v2() -> Case:
    config = hf.RTDetrV2Config(backbone_config=rt_detr_backbone(), **DETECTOR)
    return hf.RTDetrV2ForObjectDetection(config), pixels(96, 1)


def d_fine() -> Case:
    backbone = hgnet_config(out_features=["stage2", "stage3", "stage4"])
    config = hf.DFineConfig(backbone_config=backbone, **DETECTOR)
    return hf.DFineForObjectDetection(config), pixels(96, 1)


def detr() -> Case:
    config = hf.DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=resnet_backbone("stage4"),
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_queries=10,
    )
    return hf.DetrForObjectDetection(config), pixels()


def yolos() -> Case:
    config = hf.YolosConfig(**{**TOKENS, "image_size": [64, 64]}, num_detection_tokens=10)
    return hf.YolosForObjectDetection(config), pixels()


def segformer() -> Case:
    config = hf.SegformerConfig(
        hidden_sizes=[8, 16, 24, 32],
        depths=ONCE,
        num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=24,
    )
    return hf.SegformerForSemanticSegmentation(config), pixels()


def upernet() -> Case:
    stages = ["stage1", "stage2", "stage3", "stage4"]
    backbone = hf.ConvNextConfig(
        hidden_sizes=WIDTHS, depths=ONCE, out_features=stages, layer_scale_init_value=0.5
    )
    config = hf.UperNetConfig(
        backbone_config=backbone, hidden_size=24, auxiliary_in_channels=32, auxiliary_channels=16
    )
    return hf.UperNetForSemanticSegmentation(config), pixels()


def hgnet_v2() -> Case:
    model = hf.HGNetV2ForImageClassification(hgnet_config())
    model.fc = nn.Linear(WIDTHS[-1], 2)  # its own counts on 2,048 channels
    return model, pixels()


def mobilevit() -> Case:
    config = hf.MobileViTConfig(
        image_size=64, hidden_sizes=[16, 24, 32], neck_hidden_sizes=[8, 8, 16, 16, 24, 24, 32]
    )
    return hf.MobileViTForImageClassification(config), pixels()


def mobilevit_v2() -> Case:
    config = hf.MobileViTV2Config(image_size=64, width_multiplier=0.25)
    return hf.MobileViTV2ForImageClassification(config), pixels()


def poolformer() -> Case:
    config = hf.PoolFormerConfig(
        hidden_sizes=[8, 16, 24, 32], depths=ONCE, layer_scale_init_value=0.5
    )
    return hf.PoolFormerForImageClassification(config), pixels()


def focalnet() -> Case:
    config = hf.FocalNetConfig(image_size=64, embed_dim=16, depths=ONCE)
    return hf.FocalNetForImageClassification(config), pixels()


def levit() -> Case:
    config = hf.LevitConfig(
        image_size=64,
        hidden_sizes=[32, 48, 64],
        num_attention_heads=[2, 3, 4],
        depths=[1, 1, 1],
        key_dim=[8, 8, 8],
    )
    return hf.LevitForImageClassification(config), pixels()


def swiftformer() -> Case:
    config = hf.SwiftFormerConfig(
        image_size=64, embed_dims=WIDTHS, depths=ONCE, layer_scale_init_value=0.5
    )
    return hf.SwiftFormerForImageClassification(config), pixels()


def pvt_v2() -> Case:
    config = hf.PvtV2Config(
        image_size=64, hidden_sizes=[8, 16, 24, 32], depths=ONCE, num_attention_heads=[1, 2, 3, 4]
    )
    return hf.PvtV2ForImageClassification(config), pixels()


def pp_lcnet() -> Case:
    return hf.PPLCNetForImageClassification(hf.PPLCNetConfig(scale=0.25)), pixels()


def textnet() -> Case:
    return hf.TextNetForImageClassification(hf.TextNetConfig()), pixels()


def bit() -> Case:
    config = hf.BitConfig(embedding_size=32, hidden_sizes=[32, 64], depths=[1, 1], num_groups=8)
    return hf.BitForImageClassification(config), pixels()


ASKED: dict[str, Callable[[], Case]] = {
    "ResNet": resnet,
    "RegNet": regnet,
    "ConvNeXt V2": convnext_v2,
    "MobileNetV2": mobilenet_v2,
    "EfficientNet": efficientnet,
    "Swin": swin,
    "ViT": vit,
    "RT-DETR": rt_detr,
    "RT-DETR v2": rt_detr_v2,
    "D-FINE": d_fine,
}
"""Those that must be exact (issue 3); the tests prune them."""
MORE: dict[str, Callable[[], Case]] = {
    "ConvNeXt": convnext,
    "MobileNetV1": mobilenet_v1,
    "Swin v2": swin_v2,
    "DINOv2": dinov2,
    "DETR": detr,
    "YOLOS": yolos,
    "SegFormer": segformer,
    "UPerNet": upernet,
    "HGNetV2": hgnet_v2,
    "MobileViT": mobilevit,
    "MobileViT v2": mobilevit_v2,
    "PoolFormer": poolformer,
    "FocalNet": focalnet,
    "LeViT": levit,
    "SwiftFormer": swiftformer,
    "PVT v2": pvt_v2,
    "PP-LCNet": pp_lcnet,
    "TextNet": textnet,
    "BiT": bit,
}
"""Others; the benchmark prunes them too."""
