"""The registry of models: importing it costs nothing, so that the command line can name them without PyTorch."""

# Name in torchvision -> the path of its last linear layer. To add a model, add a line: any will do that ends in such a
# layer and returns one tensor of logits in training too, and for `batch_norm="frozen"`, that has every batch
# normalisation right after its convolution.
MODELS = {
    "alexnet": "classifier.6",
    "mobilenet_v2": "classifier.1",
    "resnet18": "fc",
    "shufflenet_v2_x1_0": "fc",
    "vgg16": "classifier.6",
}
