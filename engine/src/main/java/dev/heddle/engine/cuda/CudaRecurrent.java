// Recurrent networks by cuDNN, over whole sequences.
package dev.heddle.engine.cuda;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.fused.Recurrent;
import dev.heddle.engine.fused.RecurrentCell;
import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import dev.heddle.engine.plan.Step;
import java.lang.ref.Cleaner;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * {@link Recurrent} and its gradient, of sequences of one length: cuDNN wants to know lengths when a plan is made, but they are
 * data, so sequences with lengths are decomposed.
 *
 * <p>What cuDNN keeps for its gradient has a size and a form of its own, which no output of an op could have. So the gradient runs
 * forward again, in the mode that keeps it, into its own workspace: a third more work than a training step needs. cuDNN also wants all
 * weights and biases in one block, in an order that it tells; they are copied there and their gradients back, in the stream. Time
 * that runs backwards is copied into one that runs forwards.
 */
final class CudaRecurrent implements FusedKernels {
    private static final Logger LOG = LoggerFactory.getLogger(CudaRecurrent.class);
    private static final Cleaner CLEANER = Cleaner.create();
    private static final boolean TF32 = Boolean.getBoolean("heddle.cuda.tf32");
    private static final int PARAMETERS = 4; // W, U, b, d, which follow x
    private static final int ALIGNMENT = 256;

    private record Key(Fused op, List<Spec> inputs) {}

    private final CudaDevice device;
    private final CudaMemory memory;
    private final CudaModules modules;
    private final long handle;
    private final Map<Key, Boolean> supported = new ConcurrentHashMap<>();

    CudaRecurrent(CudaDevice device, CudaMemory memory, CudaModules modules, long handle) {
        this.device = device;
        this.memory = memory;
        this.modules = modules;
        this.handle = handle;
    }

    private static RecurrentCell cell(Fused op) {
        return op instanceof Recurrent r ? r.cell() : ((Recurrent.Backward) op).cell();
    }

    @Override
    public boolean supports(Fused op, List<Spec> inputs) {
        boolean ours = op instanceof Recurrent || op instanceof Recurrent.Backward;
        if (!ours || Cudnn.dataType(inputs.getFirst().dtype()) < 0 || inputs.stream().anyMatch(x -> x.shape().elements() == 0)) {
            return false;
        }
        int states = cell(op).states();
        int given = inputs.size() - (op instanceof Recurrent ? 0 : 1 + states);
        return !Recurrent.hasLengths(cell(op), given) && supported.computeIfAbsent(new Key(op, inputs), this::accepted);
    }

    /** Whether this cuDNN takes the dtype and the sizes. */
    private boolean accepted(Key key) {
        try {
            device.enter();
            new Call(key.op, key.inputs);
            return true;
        } catch (CudaException e) {
            LOG.info("cuda: {} of {} runs step by step: {}", key.op.name(), key.inputs.getFirst(), e.getMessage());
            return false;
        }
    }

    @Override
    public Kernel kernel(Fused op, List<Layout> inputs, List<Layout> outputs, Cuda cuda) {
        return new Call(op, inputs.stream().map(Layout::spec).toList());
    }

    /** Of the network, x, y and a state. */
    private record Descriptors(long network, long x, long y, long state) implements Runnable {
        @Override
        public void run() {
            CudnnRnn.destroyDescriptor(network);
            CudnnRnn.destroyDataDescriptor(x);
            CudnnRnn.destroyDataDescriptor(y);
            Cudnn.destroyTensorDescriptor(state);
        }
    }

    /** A piece of a parameter and its place in cuDNN's block of weights; offsets in bytes. */
    private record Piece(int parameter, long from, long to, long bytes) {
        boolean precedes(Piece next) {
            return parameter == next.parameter && from + bytes == next.from && to + bytes == next.to;
        }
    }

    private final class Call implements Kernel {
        private final String name;
        private final boolean backward;
        private final boolean reverse;
        private final int states;
        private final Descriptors d;
        private final List<Piece> pieces;
        private final long weightBytes;
        private final CudnnRnn.TempSpace temp;
        private final Flip flipX; // null if time runs forwards
        private final Flip flipY;
        private final int workspace; // place of its address
        // offsets in the workspace
        private final long scratch;
        private final long reserve;
        private final long gradients; // of weights
        private final long x;
        private final long y;
        private final long dx;
        private final long dy;
        private long workspaceBytes;

        Call(Fused op, List<Spec> inputs) {
            RecurrentCell cell = cell(op);
            name = op.name();
            backward = op instanceof Recurrent.Backward;
            reverse = op instanceof Recurrent r ? r.reverse() : ((Recurrent.Backward) op).reverse();
            states = cell.states();
            Spec sequence = inputs.getFirst();
            DType dtype = sequence.dtype();
            int batch = Math.toIntExact(sequence.shape().dim(0));
            int steps = Math.toIntExact(sequence.shape().dim(1));
            int features = Math.toIntExact(sequence.shape().dim(2));
            int hidden = Math.toIntExact(inputs.get(2).shape().dim(1));
            int type = Cudnn.dataType(dtype);
            int math = dtype == DType.F32 && !TF32 ? Cudnn.CUDNN_FMA_MATH : dtype == DType.F64 ? Cudnn.CUDNN_DEFAULT_MATH : Cudnn.CUDNN_TENSOR_OP_MATH;
            int[] lengths = new int[batch];
            Arrays.fill(lengths, steps);
            d = new Descriptors(CudnnRnn.descriptor(CudnnRnn.CUDNN_RNN_ALGO_STANDARD, mode(cell), CudnnRnn.CUDNN_RNN_DOUBLE_BIAS,
                    CudnnRnn.CUDNN_UNIDIRECTIONAL, type, dtype == DType.F64 ? Cudnn.CUDNN_DATA_DOUBLE : Cudnn.CUDNN_DATA_FLOAT, math, features, hidden, 1,
                    0, CudnnRnn.CUDNN_RNN_PADDED_IO_ENABLED),
                    CudnnRnn.dataDescriptor(type, CudnnRnn.CUDNN_RNN_DATA_LAYOUT_BATCH_MAJOR_UNPACKED, steps, features, lengths),
                    CudnnRnn.dataDescriptor(type, CudnnRnn.CUDNN_RNN_DATA_LAYOUT_BATCH_MAJOR_UNPACKED, steps, hidden, lengths),
                    Cudnn.tensorDescriptor(type, new int[] {1, batch, hidden}, new int[] {batch * hidden, hidden, 1}));
            CLEANER.register(this, d);
            weightBytes = CudnnRnn.weightSpaceBytes(handle, d.network);
            pieces = pieces(type, cell.gates(), (long) hidden * features * dtype.bytes(), (long) hidden * hidden * dtype.bytes(),
                    (long) hidden * dtype.bytes());
            temp = CudnnRnn.tempSpace(handle, d.network, backward ? CudnnRnn.CUDNN_FWD_MODE_TRAINING : CudnnRnn.CUDNN_FWD_MODE_INFERENCE, d.x);
            Spec output = new Spec(dtype, Shape.of(batch, steps, hidden));
            flipX = reverse ? new Flip(sequence) : null;
            flipY = reverse ? new Flip(output) : null;
            workspace = inputs.size() + (backward ? 1 + PARAMETERS + states : 1 + states);
            workspaceBytes = weightBytes; // the weights come first
            scratch = place(temp.workspaceBytes());
            reserve = place(backward ? temp.reserveBytes() : 0);
            gradients = place(backward ? weightBytes : 0);
            x = place(reverse ? sequence.bytes() : 0);
            y = place(reverse || backward ? output.bytes() : 0);
            dx = place(reverse && backward ? sequence.bytes() : 0);
            dy = place(reverse && backward ? output.bytes() : 0);
        }

        private long place(long bytes) {
            long at = (workspaceBytes + ALIGNMENT - 1) & -ALIGNMENT;
            workspaceBytes = at + bytes;
            return at;
        }

        private int mode(RecurrentCell cell) {
            return switch (cell) {
                case RELU -> CudnnRnn.CUDNN_RNN_RELU;
                case TANH -> CudnnRnn.CUDNN_RNN_TANH;
                case LSTM -> CudnnRnn.CUDNN_LSTM;
                case GRU -> CudnnRnn.CUDNN_GRU;
            };
        }

        /** Which part of which parameter goes where; gates have the same order on both sides. */
        private List<Piece> pieces(int type, int gates, long inputBytes, long hiddenBytes, long biasBytes) {
            List<Piece> result = new ArrayList<>();
            long block = memory.allocate(weightBytes); // cuDNN gives addresses, so it wants one
            long matrix = Cudnn.tensorDescriptor(type, new int[] {1, 1, 1}, new int[] {1, 1, 1});
            long bias = Cudnn.tensorDescriptor(type, new int[] {1, 1, 1}, new int[] {1, 1, 1});
            try {
                for (int linear = 0; linear < 2 * gates; linear++) {
                    CudnnRnn.Parameters at = CudnnRnn.weightParams(handle, d.network, 0, weightBytes, block, linear, matrix, bias);
                    int ofHidden = linear / gates; // 0 for the inputs' matrices, which come first, 1 for the hidden state's
                    int gate = linear % gates;
                    long bytes = ofHidden == 0 ? inputBytes : hiddenBytes;
                    result.add(new Piece(ofHidden, gate * bytes, at.matrix() - block, bytes));
                    result.add(new Piece(2 + ofHidden, gate * biasBytes, at.bias() - block, biasBytes));
                }
            } finally {
                memory.free(block, weightBytes);
                Cudnn.destroyTensorDescriptor(matrix);
                Cudnn.destroyTensorDescriptor(bias);
            }
            return joined(result);
        }

        private static List<Piece> joined(List<Piece> pieces) {
            pieces.sort((a, b) -> Long.compare(a.to, b.to));
            List<Piece> joined = new ArrayList<>();
            for (Piece piece : pieces) {
                Piece last = joined.isEmpty() ? null : joined.getLast();
                if (last != null && last.precedes(piece)) {
                    joined.set(joined.size() - 1, new Piece(last.parameter, last.from, last.to, last.bytes + piece.bytes));
                } else {
                    joined.add(piece);
                }
            }
            return joined;
        }

        @Override
        public long workspaceBytes() {
            return workspaceBytes;
        }

        @Override
        public void run(long[] addresses) {
            try {
                long base = addresses[workspace];
                for (Piece piece : pieces) {
                    Driver.memcpyDtoDAsync(base + piece.to, addresses[1 + piece.parameter] + piece.from, piece.bytes, device.stream);
                }
                long in = addresses[0];
                if (reverse) {
                    flipX.run(in, base + x);
                    in = base + x;
                }
                if (backward) {
                    backward(addresses, base, in);
                } else {
                    forward(addresses, base, in);
                }
            } catch (CudaException e) {
                throw e.in(name);
            }
        }

        private void forward(long[] addresses, long base, long in) {
            int first = 1 + PARAMETERS;
            int out = first + states;
            boolean cells = states > 1;
            CudnnRnn.forward(handle, d.network, CudnnRnn.CUDNN_FWD_MODE_INFERENCE, 0, d.x, in, d.y, reverse ? base + y : addresses[out], d.state,
                    addresses[first], addresses[out + 1], d.state, cells ? addresses[first + 1] : 0, cells ? addresses[out + 2] : 0, weightBytes, base,
                    temp.workspaceBytes(), base + scratch, 0, 0);
            if (reverse) {
                flipY.run(base + y, addresses[out]);
            }
        }

        private void backward(long[] addresses, long base, long in) {
            int first = 1 + PARAMETERS;
            int given = first + states; // dy, then gradients of the last states
            int out = given + 1 + states; // dx, of the parameters, of the first states
            int firstGradient = out + 1 + PARAMETERS;
            boolean cells = states > 1;
            long c = cells ? addresses[first + 1] : 0;
            long dOut = addresses[given];
            if (reverse) {
                flipY.run(dOut, base + dy);
                dOut = base + dy;
            }
            CudnnRnn.forward(handle, d.network, CudnnRnn.CUDNN_FWD_MODE_TRAINING, 0, d.x, in, d.y, base + y, d.state, addresses[first], 0, d.state, c, 0,
                    weightBytes, base, temp.workspaceBytes(), base + scratch, temp.reserveBytes(), base + reserve);
            CudnnRnn.backwardData(handle, d.network, 0, d.y, base + y, dOut, d.x, reverse ? base + dx : addresses[out], d.state, addresses[first],
                    addresses[given + 1], addresses[firstGradient], d.state, c, cells ? addresses[given + 2] : 0,
                    cells ? addresses[firstGradient + 1] : 0, weightBytes, base, temp.workspaceBytes(), base + scratch, temp.reserveBytes(), base + reserve);
            Driver.memsetD8Async(base + gradients, (byte) 0, weightBytes, device.stream);
            CudnnRnn.backwardWeights(handle, d.network, 0, d.x, in, d.state, addresses[first], d.y, base + y, weightBytes, base + gradients,
                    temp.workspaceBytes(), base + scratch, temp.reserveBytes(), base + reserve);
            for (Piece piece : pieces) {
                Driver.memcpyDtoDAsync(addresses[out + 1 + piece.parameter] + piece.from, base + gradients + piece.to, piece.bytes, device.stream);
            }
            if (reverse) {
                flipX.run(base + dx, addresses[out]);
            }
        }
    }

    /** Copies a sequence with the order of time reversed. */
    private final class Flip {
        private final Kernel kernel;
        private final long lastStep; // bytes from the first element to the first that is read
        private final long[] arguments = new long[2];

        Flip(Spec sequence) {
            Layout contiguous = Layout.contiguous(sequence);
            Layout flipped = contiguous.flip(1);
            lastStep = flipped.byteOffset();
            kernel = ElementwiseKernels.of(device, modules, new Step(Elementwise.of(new Expr.Input(0, sequence.dtype())), null, Step.Epilogue.NONE,
                    List.of(new Step.Operand(0, flipped)), List.of(new Step.Operand(1, contiguous)), 0));
        }

        void run(long from, long to) {
            arguments[0] = from + lastStep;
            arguments[1] = to;
            kernel.run(arguments);
        }
    }
}
