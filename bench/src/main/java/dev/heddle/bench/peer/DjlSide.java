// The workloads in DJL as its users write them: its blocks, Trainer, optimizers and loss, on its PyTorch engine.
package dev.heddle.bench.peer;

import ai.djl.Model;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.ndarray.types.SparseFormat;
import ai.djl.nn.AbstractBlock;
import ai.djl.nn.Activation;
import ai.djl.nn.Block;
import ai.djl.nn.Parameter;
import ai.djl.nn.ParallelBlock;
import ai.djl.nn.SequentialBlock;
import ai.djl.nn.convolutional.Conv2d;
import ai.djl.nn.core.Embedding;
import ai.djl.nn.core.Linear;
import ai.djl.nn.norm.BatchNorm;
import ai.djl.nn.norm.Dropout;
import ai.djl.nn.norm.LayerNorm;
import ai.djl.nn.pooling.Pool;
import ai.djl.nn.recurrent.LSTM;
import ai.djl.training.DefaultTrainingConfig;
import ai.djl.training.GradientCollector;
import ai.djl.training.ParameterStore;
import ai.djl.training.Trainer;
import ai.djl.training.loss.Loss;
import ai.djl.training.optimizer.Optimizer;
import ai.djl.training.tracker.Tracker;
import ai.djl.util.PairList;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;

/**
 * A step: forward, {@code Loss.softmaxCrossEntropyLoss}, backward, {@code Trainer.step}, loss read. DJL has no block of causal
 * attention: the GPT's is written with its array operations.
 */
final class DjlSide implements PeerWorker.Side {
    /**
     * DJL adds it to the root before the correction of the bias, the others after it: this comes nearest to their 1e-8 in the first
     * steps.
     */
    private static final float EPSILON = 1e-9f;

    private final Workload workload;
    private final Trainer trainer;
    private final Loss loss = Loss.softmaxCrossEntropyLoss();
    private final NDArray x;
    private final NDArray y;
    private boolean dropout;

    DjlSide(Workload workload) {
        this.workload = workload;
        Block block = switch (workload) {
            case MLP -> new SequentialBlock().add(linear(512)).add(Activation.reluBlock()).add(linear(512)).add(Activation.reluBlock()).add(linear(10));
            case CNN -> cnn();
            case RESNET18 -> resNet();
            case GPT -> new Gpt(workload);
            case LSTM -> lstm();
        };
        Optimizer optimizer = switch (workload) {
            case MLP -> Optimizer.sgd().setLearningRateTracker(Tracker.fixed((float) Workload.SGD_RATE)).build();
            case RESNET18 -> Optimizer.sgd().setLearningRateTracker(Tracker.fixed((float) Workload.RESNET_RATE))
                    .optMomentum((float) Workload.MOMENTUM).build();
            case CNN, LSTM -> Optimizer.adam().optEpsilon(EPSILON).optLearningRateTracker(Tracker.fixed((float) Workload.ADAM_RATE)).build();
            case GPT -> Optimizer.adamW().optEpsilon(EPSILON).optLearningRateTracker(Tracker.fixed((float) Workload.ADAMW_RATE)).optWeightDecays(0.01f).build();
        };
        Model model = Model.newInstance("peer", "PyTorch");
        model.setBlock(block);
        trainer = model.newTrainer(new DefaultTrainingConfig(loss).optOptimizer(optimizer));
        trainer.initialize(new Shape(workload == Workload.LSTM ? timeFirstShape() : workload.inputShape(workload.batch)));
        setWeights(block);
        NDManager manager = trainer.getManager();
        x = workload.positions > 0 ? tokens(workload.tokens(workload.batch))
                : manager.create(workload.inputs(workload.batch), new Shape(workload.inputShape(workload.batch)));
        long[] labels = workload.labels(workload.batch);
        y = workload.positions > 0 ? tokens(labels).flatten() : manager.create(labels);
    }

    private long[] timeFirstShape() {
        return new long[] {workload.positions, workload.batch};
    }

    /** {@code (N, T)}; time first for the LSTM, as for libtorch. */
    private NDArray tokens(long[] values) {
        NDArray tokens = trainer.getManager().create(values, new Shape(workload.batch, workload.positions));
        return workload == Workload.LSTM ? tokens.transpose() : tokens;
    }

    /** Puts the initial weights into the parameters, which must come in the order of {@link Workload#shapes}. */
    private void setWeights(Block block) {
        List<Parameter> parameters = block.getParameters().values().stream().filter(Parameter::requiresGradient).toList();
        if (parameters.size() != workload.shapes.length) {
            throw new IllegalStateException(parameters.size() + " parameters instead of " + workload.shapes.length);
        }
        for (int i = 0; i < parameters.size(); i++) {
            NDArray array = parameters.get(i).getArray();
            if (!Arrays.equals(array.getShape().getShape(), workload.shapes[i])) {
                throw new IllegalStateException("parameter " + i + " is " + array.getShape() + " instead of " + Arrays.toString(workload.shapes[i]));
            }
            array.set(workload.parameter(i));
        }
    }

    @Override
    public double step(boolean withDropout) {
        dropout = withDropout;
        try (NDManager scope = trainer.getManager().newSubManager()) { // everything of this step goes with it
            x.tempAttach(scope);
            y.tempAttach(scope);
            NDArray value;
            try (GradientCollector collector = trainer.newGradientCollector()) {
                value = loss.evaluate(new NDList(y), trainer.forward(new NDList(x)));
                collector.backward(value);
            }
            trainer.step();
            return value.getFloat();
        }
    }

    private static Block linear(long units) {
        return Linear.builder().setUnits(units).build();
    }

    private static Block function(Function<NDArray, NDArray> function) {
        return new SequentialBlock().addSingleton(function);
    }

    private static Block conv(int filters, int kernel, int stride, int padding, boolean bias) {
        return Conv2d.builder().setFilters(filters).setKernelShape(new Shape(kernel, kernel)).optStride(new Shape(stride, stride))
                .optPadding(new Shape(padding, padding)).optBias(bias).build();
    }

    private Block cnn() {
        return new SequentialBlock().add(conv(32, 3, 1, 0, true)).add(Activation.reluBlock()).add(conv(64, 3, 1, 0, true))
                .add(Activation.reluBlock()).add(Pool.maxPool2dBlock(new Shape(2, 2), new Shape(2, 2)))
                .add(function(h -> dropout(h, 0.25f).reshape(workload.batch, -1))).add(linear(128)).add(Activation.reluBlock())
                .add(function(h -> dropout(h, 0.5f))).add(linear(10));
    }

    private NDArray dropout(NDArray h, float rate) {
        return dropout ? Dropout.dropout(h, rate, true).singletonOrThrow() : h;
    }

    private static SequentialBlock normedConv(int filters, int kernel, int stride) {
        // DJL's momentum is the share of the old statistics
        return new SequentialBlock().add(conv(filters, kernel, stride, kernel / 2, false)).add(BatchNorm.builder().optEpsilon(1e-5f).optMomentum(0.9f).build());
    }

    private static Block resNet() {
        SequentialBlock net = normedConv(64, 3, 1).add(Activation.reluBlock());
        for (int block = 0; block < 2 * Workload.STAGES; block++) {
            int filters = 64 << block / 2;
            boolean narrows = block > 0 && block % 2 == 0;
            Block residual = normedConv(filters, 3, narrows ? 2 : 1).add(Activation.reluBlock()).add(normedConv(filters, 3, 1));
            Block shortcut = narrows ? normedConv(filters, 1, 2) : function(h -> h);
            net.add(new ParallelBlock(branches -> new NDList(branches.get(0).head().add(branches.get(1).head()).getNDArrayInternal().relu()),
                    List.of(residual, shortcut)));
        }
        return net.add(Pool.globalAvgPool2dBlock()).add(linear(10));
    }

    private Block lstm() {
        return new SequentialBlock().add(new Tokens(workload.vocabulary(), Workload.DIM)) // (T, N, D)
                .add(LSTM.builder().setStateSize(Workload.DIM).setNumLayers(2).optBatchFirst(false).build())
                .add(linear(workload.vocabulary())).add(function(h -> h.reshape(-1, workload.vocabulary()))); // (T N, tokens)
    }

    /** Rows of a table: DJL's own embedding block maps objects to rows, its operation is what is needed. */
    private static final class Tokens extends AbstractBlock {
        private final Parameter table;

        Tokens(long tokens, long dim) {
            table = addParameter(Parameter.builder().setName("embedding").setType(Parameter.Type.WEIGHT).optShape(new Shape(tokens, dim)).build());
        }

        @Override
        protected NDList forwardInternal(ParameterStore store, NDList inputs, boolean training, PairList<String, Object> params) {
            return Embedding.embedding(inputs.head(), rows(store, inputs.head(), training), SparseFormat.DENSE);
        }

        NDArray rows(ParameterStore store, NDArray x, boolean training) {
            return store.getValue(table, x.getDevice(), training);
        }

        @Override
        public Shape[] getOutputShapes(Shape[] inputs) {
            return new Shape[] {inputs[0].add(table.getShape().get(1))};
        }
    }

    /**
     * The GPT: tokens and positions, blocks of attention and feed-forward, norm, head. Its factors are arrays that live as long as it does:
     * {@code mul(Number)} makes one of a buffer that the garbage collector may free before the gradient reads it, which then is wrong, or NaN.
     */
    private static final class Gpt extends AbstractBlock {
        private static final long DIM = Workload.DIM;

        private final Workload workload;
        private final Tokens tokens;
        private final Tokens positions;
        private final List<Block> parts = new ArrayList<>(); // of a block: norm, q k v, projection, norm, up, down; then norm, head
        private NDArray scale; // of scores
        private NDArray half;
        private NDArray cubic; // of the GELU
        private NDArray inner;

        Gpt(Workload workload) {
            this.workload = workload;
            tokens = addChildBlock("tokens", new Tokens(workload.vocabulary(), DIM));
            positions = addChildBlock("positions", new Tokens(workload.positions, DIM));
            for (int i = 0; i < Workload.BLOCKS; i++) {
                for (long units : new long[] {0, 3 * DIM, DIM, 0, 4 * DIM, DIM}) {
                    part(units);
                }
            }
            part(0);
            part(workload.vocabulary());
        }

        /** Adds a linear layer, or a norm. */
        private void part(long units) {
            Block part = units == 0 ? LayerNorm.builder().optEpsilon(1e-5f).axis(2).build() : linear(units);
            parts.add(addChildBlock("part" + parts.size(), part));
        }

        @Override
        public void initializeChildBlocks(NDManager manager, DataType type, Shape... inputs) {
            scale = manager.create(1 / (float) Math.sqrt((double) DIM / Workload.HEADS));
            half = manager.create(0.5f);
            cubic = manager.create(0.044715f);
            inner = manager.create((float) Math.sqrt(2 / Math.PI));
            tokens.initialize(manager, type, inputs);
            positions.initialize(manager, type, inputs);
            Shape narrow = new Shape(workload.batch, workload.positions, DIM);
            for (int i = 0; i < parts.size(); i++) {
                boolean down = i < parts.size() - 2 && i % 6 == 5;
                parts.get(i).initialize(manager, type, down ? new Shape(workload.batch, workload.positions, 4 * DIM) : narrow);
            }
        }

        @Override
        protected NDList forwardInternal(ParameterStore store, NDList inputs, boolean training, PairList<String, Object> params) {
            NDArray x = inputs.head();
            long n = workload.batch;
            long t = workload.positions;
            NDArray h = tokens.forward(store, inputs, training).head().add(positions.rows(store, x, training)); // (N, T, D)
            NDArray steps = x.getManager().arange((int) t);
            NDArray hidden = steps.expandDims(0).gt(steps.expandDims(1)).toType(DataType.FLOAT32, false).mul(-1e9f); // (T, T)
            int i = 0;
            for (int block = 0; block < Workload.BLOCKS; block++, i += 6) {
                NDArray qkv = apply(i + 1, apply(i, h, store, training), store, training)
                        .reshape(n, t, 3, Workload.HEADS, DIM / Workload.HEADS).transpose(2, 0, 3, 1, 4); // (3, N, H, T, D/H)
                NDArray scores = qkv.get(0).matMul(qkv.get(1).transpose(0, 1, 3, 2)).mul(scale);
                NDArray a = scores.add(hidden).softmax(-1).matMul(qkv.get(2)); // (N, H, T, D/H)
                h = h.add(apply(i + 2, a.transpose(0, 2, 1, 3).reshape(n, t, DIM), store, training));
                NDArray up = geluTanh(apply(i + 4, apply(i + 3, h, store, training), store, training));
                h = h.add(apply(i + 5, up, store, training));
            }
            return new NDList(apply(i + 1, apply(i, h, store, training), store, training).reshape(n * t, workload.vocabulary()));
        }

        /** DJL's own GELU is the exact one; the models here have the approximation by tanh. */
        private NDArray geluTanh(NDArray x) {
            return x.mul(half).mul(x.mul(x).mul(cubic).add(1).mul(x).mul(inner).tanh().add(1));
        }

        private NDArray apply(int part, NDArray h, ParameterStore store, boolean training) {
            return parts.get(part).forward(store, new NDList(h), training).head();
        }

        @Override
        public Shape[] getOutputShapes(Shape[] inputs) {
            return new Shape[] {new Shape(workload.samples(), workload.vocabulary())};
        }
    }
}
