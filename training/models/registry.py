"""The models that can be trained. Free of PyTorch, so that the command line can list them quickly."""

# Name in torchvision -> path of the last linear layer. To add a model, add a line. The model must end in a linear layer
# and return one tensor of logits, in training mode too. Each of its batch normalizations must directly follow a
# convolution, because the recipe's `batch_norm="frozen"` and the export fold them.
MODELS = {
    "alexnet": "classifier.6",
    "mobilenet_v2": "classifier.1",
    "resnet18": "fc",
    "shufflenet_v2_x1_0": "fc",
    "vgg16": "classifier.6",
}
