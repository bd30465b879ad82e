"""The loop does the arithmetic that the recipe says: steps, SAM, averaging, and it learns."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from overfly.runtime.errors import RunError
from overfly.training.loop.trainer import Trainer, predict_logits
from overfly.training.models.build import PreprocessedModel
from overfly.training.recipe import PAPER, Recipe, override

SIZE = 32
CPU = torch.device("cpu")
PLAIN = override(PAPER, image_size=SIZE, batch_size=4, epochs=1, learning_rate=0.01)


def tiny_net(n_classes=2):
    """A convolution, a batch-norm and a linear layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), *pool, nn.Linear(4, n_classes))


def make_trainer(recipe, n_images, seed=0):
    return Trainer(PreprocessedModel(tiny_net(), recipe.image), recipe, n_images=n_images, seed=seed, device=CPU)


def toy(n_images, seed=0):
    """Dark and bright images in turn, uint8, with their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n_images, dtype=np.int64) % 2
    images = rng.integers(0, 100, (n_images, SIZE, SIZE, 3)) + 155 * labels[:, None, None, None]
    return images.astype(np.uint8), labels


def quiet(*_):
    """Do nothing after a step."""


def snapshot(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


@pytest.mark.parametrize(("n_images", "n_steps"), [(4, 1), (8, 2), (9, 2), (10, 3), (11, 3), (12, 3), (3, 1), (2, 1)])
def test_a_last_batch_of_one_image_is_left_out(n_images, n_steps):
    trainer = make_trainer(PLAIN, n_images)
    steps = []
    images, labels = toy(n_images)
    trainer.run_epoch(images, labels, lambda done, total: steps.append((done, total)))
    assert trainer.steps_per_epoch == n_steps
    assert steps == [(i + 1, n_steps) for i in range(n_steps)]
    assert (trainer.step, trainer.epoch) == (n_steps, 1)
    assert int(trainer.model.model[1].num_batches_tracked) == n_steps


def test_every_image_is_seen_once_in_an_epoch_in_an_order_that_changes():
    seen = []

    class Spy(nn.Module):
        """Notes the first pixel of each image; has one weight to train."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2, 3))

        def forward(self, images):
            seen.extend((images[:, 0, 0, 0] * 0.229 + 0.485).mul(255).round().int().tolist())
            return images.mean(dim=(2, 3)) @ self.weight.T

    trainer = Trainer(PreprocessedModel(Spy(), PLAIN.image), PLAIN, n_images=10, seed=0, device=CPU)
    images = np.empty((10, SIZE, SIZE, 3), np.uint8)
    images[:] = np.arange(10, dtype=np.uint8)[:, None, None, None] * 20
    for _ in range(2):
        trainer.run_epoch(images, np.zeros(10, np.int64), quiet)
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(0, 200, 20))
    assert seen[:10] != seen[10:] != list(range(0, 200, 20))


def test_the_loss_is_the_cross_entropy_with_label_smoothing():
    recipe = override(PLAIN, label_smoothing=0.2, learning_rate=1e-12)
    trainer = make_trainer(recipe, n_images=4)
    images, labels = toy(4)
    with torch.no_grad():
        logits = trainer.model.train()(torch.from_numpy(images))
    log_p = logits.log_softmax(dim=1).numpy()
    target = np.full((4, 2), 0.2 / 2)
    target[np.arange(4), labels] += 0.8
    loss, seconds = make_trainer(recipe, n_images=4).run_epoch(images, labels, quiet)
    assert loss == pytest.approx(-(target * log_p).sum(axis=1).mean(), rel=1e-5)
    assert seconds > 0


def test_one_step_of_adam_by_hand():
    trainer = make_trainer(PLAIN, n_images=4)
    before = snapshot(trainer.model)
    images, labels = toy(4)
    trainer.run_epoch(images, labels, quiet)
    after = snapshot(trainer.model)
    # Adam's first step is the learning rate times the sign of the gradient, which is not 0 here.
    change = (after["model.5.weight"] - before["model.5.weight"]).abs()
    assert torch.allclose(change, torch.full_like(change, 0.01), rtol=1e-2)


def test_weight_decay_is_for_filters_and_matrices_only():
    trainer = make_trainer(override(PLAIN, optimizer="adamw", weight_decay=0.3), n_images=4)
    decayed, others = trainer.optimizer.param_groups
    assert type(trainer.optimizer) is torch.optim.AdamW
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    assert [tuple(p.shape) for p in decayed["params"]] == [(4, 3, 3, 3), (2, 4)]
    assert [tuple(p.shape) for p in others["params"]] == [(4,), (4,), (4,), (2,)]
    assert type(make_trainer(PLAIN, 4).optimizer) is torch.optim.Adam


def test_a_sharpness_aware_step_by_hand():
    recipe = override(PLAIN, sam_rho=0.3, sam_fraction=1.0)
    trainer, by_hand = make_trainer(recipe, n_images=4), make_trainer(recipe, n_images=4)
    images, labels = toy(4)
    model, targets = by_hand.model.train(), torch.from_numpy(labels)

    def gradients():
        loss = nn.functional.cross_entropy(model(torch.from_numpy(images)), targets)
        return float(loss.detach()), torch.autograd.grad(loss, list(model.parameters()))

    loss, at_weights = gradients()
    statistics = snapshot(model.model[1])
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in at_weights))
    with torch.no_grad():
        for weight, gradient in zip(model.parameters(), at_weights, strict=True):
            weight.add_(0.3 * gradient / norm)
    _, there = gradients()
    before = snapshot(trainer.model)
    # An optimizer that subtracts the gradients shows which they were.
    trainer.optimizer = torch.optim.SGD(trainer.model.parameters())
    mean_loss, _ = trainer.run_epoch(images, labels, quiet)
    assert mean_loss == pytest.approx(loss, rel=1e-5)
    for (name, weight), gradient, first in zip(trainer.model.named_parameters(), there, at_weights, strict=True):
        change = (before[name] - weight.detach()) / trainer.learning_rate
        assert torch.allclose(change, gradient, atol=1e-4), name
        # It is not the step from the gradients at the weights; the bias before the batch-norm has none at all.
        assert name == "model.0.bias" or not torch.allclose(change, first, atol=1e-3), name
    # The batch counts once, as the images look to the weights that are kept.
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.allclose(trainer.model.model[1].state_dict()[name], statistics[name]), name


def test_where_the_loss_is_flat_a_sharpness_aware_step_goes_nowhere():
    trainer = make_trainer(override(PLAIN, sam_rho=0.3, sam_fraction=1.0), n_images=4)
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight.zero_()
    images, labels = toy(4)
    # Two of either class and equal logits: every gradient is 0.
    trainer.run_epoch(images, labels, quiet)
    assert all((weight == 0).all() for weight in trainer.model.parameters())


def test_frozen_layers_stay_in_a_sharpness_aware_step():
    trainer = make_trainer(override(PLAIN, frozen_fraction=1.0, sam_rho=0.3, sam_fraction=1.0), n_images=8)
    before = snapshot(trainer.model.model)
    trainer.run_epoch(*toy(8), quiet)
    after = snapshot(trainer.model.model)
    assert {key for key in after if not torch.equal(after[key], before[key])} == {"5.weight", "5.bias"}


@pytest.mark.parametrize(("fraction", "first"), [(0.5, 5), (0.0, 12)])
def test_the_last_steps_use_sam(fraction, first):
    trainer = make_trainer(override(PLAIN, epochs=5, sam_rho=0.3, sam_fraction=fraction), n_images=8)
    taken = []
    backward = trainer.shares.backward
    trainer.shares.backward = lambda **how: taken.append(trainer.step) or backward(**how)
    for _ in range(6):  # one more than planned
        trainer.run_epoch(*toy(8), quiet)
    assert taken == [step for step in range(12) for _ in range(1 + (step >= first))]


def test_averaging_by_hand():
    trainer = make_trainer(override(PLAIN, ema_decay=0.99), n_images=8)
    images, labels = toy(8)
    expected = snapshot(trainer.ema_model)
    for step, first in ((1, 0), (2, 4)):
        trainer._train_step(torch.from_numpy(images[first : first + 4]), torch.from_numpy(labels[first : first + 4]))
        decay = (1 + step) / (10 + step)
        current = snapshot(trainer.model)
        for key, value in expected.items():
            expected[key] = decay * value + (1 - decay) * current[key] if value.is_floating_point() else current[key]
    found = trainer.ema_model.state_dict()
    for key, value in expected.items():
        assert torch.allclose(found[key], value, atol=1e-6), key
    assert int(found["model.1.num_batches_tracked"]) == 2
    assert not torch.equal(found["model.5.weight"], current["model.5.weight"])


def test_the_decay_grows_to_the_recipes():
    trainer = make_trainer(override(PLAIN, ema_decay=0.5), n_images=8)
    trainer.step = 1000
    weight = trainer.ema_model.model[5].weight
    with torch.no_grad():
        trainer.model.model[5].weight.fill_(3.0)
        weight.fill_(1.0)
    trainer._update_ema()
    assert torch.equal(weight, torch.full_like(weight, 2.0))


def test_without_averaging_the_last_weights_are_kept():
    trainer = make_trainer(PLAIN, n_images=4)
    assert trainer.ema_model is trainer.model


def test_the_ema_model_is_a_copy_in_eval_mode():
    trainer = make_trainer(override(PLAIN, ema_decay=0.9), n_images=4)
    assert not trainer.ema_model.training
    assert not {p.data_ptr() for p in trainer.ema_model.parameters()} & {
        p.data_ptr() for p in trainer.model.parameters()
    }


@pytest.mark.parametrize("recipe", [PLAIN, Recipe(image_size=SIZE, batch_size=8, learning_rate=0.01)])
def test_it_learns_what_can_be_learned(recipe):
    recipe = override(recipe, epochs=12)
    trainer = make_trainer(recipe, n_images=32)
    images, labels = toy(32)
    losses = [trainer.run_epoch(images, labels, quiet)[0] for _ in range(recipe.epochs)]
    assert losses[-1] < 0.8 * losses[0]
    unseen, truth = toy(20, seed=9)
    assert (predict_logits(trainer.ema_model, unseen).argmax(axis=1) == truth).all()


def test_a_seed_repeats_the_training():
    recipe = override(Recipe(image_size=SIZE, batch_size=4), epochs=2)
    states = []
    for seed in (3, 3, 4):
        trainer = make_trainer(recipe, n_images=10, seed=seed)
        for _ in range(2):
            trainer.run_epoch(*toy(10), quiet)
        states.append(snapshot(trainer.ema_model))
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert not torch.equal(states[0]["model.5.weight"], states[2]["model.5.weight"])


def test_the_callers_images_stay_as_they_are():
    images, labels = toy(8)
    before = images.copy()
    make_trainer(override(Recipe(image_size=SIZE, batch_size=4), epochs=1), 8).run_epoch(images, labels, quiet)
    assert (images == before).all()


@pytest.mark.parametrize("n_images", [1, 32, 33, 70])
def test_predicting_in_batches_is_predicting_one_by_one(n_images):
    model = PreprocessedModel(tiny_net(), PLAIN.image).train()
    images, _ = toy(n_images)
    steps = []
    logits = predict_logits(model, images, progress=lambda done, total: steps.append((done, total)))
    assert logits.dtype == np.float32
    assert logits.shape == (n_images, 2)
    assert not model.training
    with torch.inference_mode():
        single = np.concatenate([model(torch.from_numpy(image[None])).numpy() for image in images])
    assert np.allclose(logits, single, atol=1e-5)
    assert steps == [(min(i, n_images), n_images) for i in range(32, n_images + 32, 32)]


def test_frozen_statistics_and_convolutions_stay_and_the_rest_learns():
    recipe = override(PLAIN, batch_norm="frozen")
    for n_frozen, changed in ((0, {"0.weight", "0.bias", "1.weight", "1.bias"}), (1, set())):
        trainer = make_trainer(override(recipe, frozen_fraction=n_frozen), n_images=8)
        before = snapshot(trainer.model.model)
        trainer.run_epoch(*toy(8), quiet)
        after = snapshot(trainer.model.model)
        assert {k for k in after if not torch.equal(after[k], before[k])} == changed | {"5.weight", "5.bias"}


def test_a_frozen_first_layer_keeps_its_statistics_where_the_others_take_the_batchs():
    trainer = make_trainer(override(PLAIN, frozen_fraction=1.0), n_images=8)
    before = snapshot(trainer.model.model)
    trainer.run_epoch(*toy(8), quiet)
    assert torch.equal(trainer.model.model[1].running_mean, before["1.running_mean"])


def test_bf16_computes_close_to_fp32_and_keeps_the_weights_in_fp32():
    losses = {}
    for precision in ("fp32", "bf16"):
        trainer = make_trainer(override(PLAIN, precision=precision), n_images=8)
        losses[precision] = trainer.run_epoch(*toy(8), quiet)[0]
        assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)
    assert losses["bf16"] != losses["fp32"]


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("small"), None])
def test_too_little_memory_is_a_sentence(monkeypatch, error):
    def step(*_arguments):
        if error is not None:
            raise error
        torch.empty(10**15)

    monkeypatch.setattr(Trainer, "_train_step", step)
    with pytest.raises(RunError) as caught:
        make_trainer(PLAIN, n_images=12).run_epoch(*toy(12), quiet)
    assert str(caught.value) == (
        "out of memory for a batch of 4 images of 32 x 32 pixels: "
        "start again with --overwrite and a smaller --batch-size or --image-size"
    )


def test_a_training_that_diverges_ends(monkeypatch):
    losses = iter([1.0, float("nan")])
    monkeypatch.setattr(Trainer, "_train_step", lambda *_arguments: next(losses))
    with pytest.raises(RunError) as caught:
        make_trainer(PLAIN, n_images=12).run_epoch(*toy(12), quiet)
    assert str(caught.value) == (
        "the training diverged: the loss is nan at step 0 of 3; "
        "start again with --overwrite and a lower learning_rate or sam_rho"
    )
