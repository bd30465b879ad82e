"""The registry of models: importing it costs nothing, so that the command line can name them without PyTorch."""

# Name in torchvision -> the path of its last linear layer. To add a model, add a line.
MODELS = {
    "alexnet": "classifier.6",
    "mobilenet_v2": "classifier.1",
    "resnet18": "fc",
    "shufflenet_v2_x1_0": "fc",
    "vgg16": "classifier.6",
}
