// Max and average pooling and their gradients through oneDNN.
package dev.heddle.engine.cpu;

import dev.heddle.engine.DType;
import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.op.Pooling.Direction;
import dev.heddle.engine.op.Pooling.Kind;
import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import java.util.List;
import java.util.function.IntConsumer;
import java.util.stream.LongStream;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;

/**
 * A planned pooling. The batch is cut into a part a thread, each run by single-threaded primitives, a block of images that
 * fits into the cache at a time. One call runs at a time.
 *
 * <p>oneDNN's maximum starts from the least finite number and passes over NaN, so a block of {@code x} is looked through
 * first and left to the caller if there is a NaN, an infinity or that number in it; among other numbers the first of equal
 * maxima wins, as it should. The gradient of a maximum needs to know where the maxima were: they are found again.
 */
final class OneDnnPooling {
    private static final int FORWARD_TRAINING = 64;
    private static final int FORWARD_INFERENCE = 96;
    private static final int POOLING_MAX = 0x1ff;
    private static final int POOLING_AVG_INCLUDE_PADDING = 0x2ff;
    private static final int POOLING_AVG_EXCLUDE_PADDING = 0x3ff;
    private static final long BLOCK_BYTES = 256 << 10;

    private static final OneDnnPlans<OneDnnPoolingShape, OneDnnPooling> PLANS = new OneDnnPlans<>(OneDnnPooling::new);

    /** The primitives for a number of images; {@code places} finds the maxima of which {@code main} is the gradient, or is null. */
    private record Block(long images, OneDnnPrimitive places, OneDnnPrimitive main) {}

    private final DType dtype;
    private final boolean max;
    private final boolean backward;
    private final long batch;
    private final long xImage; // bytes
    private final long yImage;
    private final Block[] whole; // by part
    private final Block[] rest; // what a part has left behind its whole blocks, or null
    private final long indexBytes; // of a part's workspace: the places of maxima, the maxima, oneDNN's scratch
    private final long yBytes;
    private final long scratchBytes;

    private final IntConsumer runPart = this::runPart;
    private WorkerPool.RangeBody otherwise;
    private long first;
    private long second;
    private long result;
    private long workspace;

    private OneDnnPooling(OneDnnPoolingShape shape) throws UnsupportedByOneDnn {
        dtype = shape.dtype();
        max = shape.op().kind() == Kind.MAX;
        backward = shape.op().direction() == Direction.BACKWARD;
        batch = shape.batch();
        xImage = product(shape.xDims(1)) * dtype.bytes();
        yImage = product(shape.yDims(1)) * dtype.bytes();
        if (batch == 0 || xImage == 0) {
            throw new UnsupportedByOneDnn("empty");
        }
        if (shape.op().direction() == Direction.GATHER) {
            throw new UnsupportedByOneDnn("no such direction");
        }
        if (shape.op().window().dilation().stream().anyMatch(d -> d != 1)) {
            throw new UnsupportedByOneDnn("dilation"); // there is only a reference implementation
        }
        int parts = (int) Math.min(WorkerPool.shared().threads(), batch);
        long images = Math.clamp(BLOCK_BYTES / xImage, 1, batch / parts);
        whole = new Block[parts];
        rest = new Block[parts];
        long indices = 0;
        long scratch = 0;
        for (int i = 0; i < parts; i++) {
            whole[i] = plan(shape, images);
            long left = (begin(i + 1) - begin(i)) % images;
            rest[i] = left == 0 ? null : plan(shape, left);
            for (Block block : left == 0 ? List.of(whole[i]) : List.of(whole[i], rest[i])) {
                scratch = Math.max(scratch, block.main.scratchBytes());
                if (block.places != null) {
                    scratch = Math.max(scratch, block.places.scratchBytes());
                    indices = Math.max(indices, OneDnnApi.bytes(block.places.layout(OneDnnPrimitive.WORKSPACE)));
                }
            }
        }
        indexBytes = align(indices);
        yBytes = max && backward ? align(images * yImage) : 0;
        scratchBytes = align(scratch);
    }

    /** The planned pooling, or null if oneDNN has no fast one: then {@link #unsupported} says why. */
    static OneDnnPooling of(OneDnnPoolingShape shape) {
        return PLANS.get(shape).plan();
    }

    /** Why {@link #of} returns null, or null if it does not. */
    static String unsupported(OneDnnPoolingShape shape) {
        return PLANS.get(shape).unsupported();
    }

    private static Block plan(OneDnnPoolingShape shape, long n) throws UnsupportedByOneDnn {
        boolean max = shape.op().kind() == Kind.MAX;
        boolean backward = shape.op().direction() == Direction.BACKWARD;
        int algorithm = max ? POOLING_MAX : shape.op().countPadding() ? POOLING_AVG_INCLUDE_PADDING : POOLING_AVG_EXCLUDE_PADDING;
        try (OneDnnScope scope = new OneDnnScope()) {
            long engine = OneDnnApi.ENGINE;
            long x = activations(scope, shape, shape.xDims(n));
            long y = activations(scope, shape, shape.yDims(n));
            MemorySegment strides = dims(scope, shape.op().window().stride());
            MemorySegment kernel = dims(scope, shape.op().kernel());
            MemorySegment dilations = scope.dims(new long[shape.input().size()]); // oneDNN counts the gaps
            MemorySegment before = dims(scope, shape.op().window().before());
            MemorySegment after = dims(scope, shape.op().window().after());
            long attributes = scope.attributes(false, false);
            String function = "dnnl_pooling_forward_primitive_desc_create";
            Object[] forward = {engine, backward ? FORWARD_TRAINING : FORWARD_INFERENCE, algorithm, x, y, strides, kernel, dilations,
                before, after, attributes};
            if (!backward) {
                return new Block(n, null, scope.primitive(function, forward, OneDnnPrimitive.SRC, OneDnnPrimitive.DST));
            }
            Object[] arguments = {engine, algorithm, x, y, strides, kernel, dilations, before, after,
                scope.descriptor(function, forward), attributes};
            OneDnnPrimitive places = !max ? null
                    : scope.primitive(function, forward, OneDnnPrimitive.SRC, OneDnnPrimitive.DST, OneDnnPrimitive.WORKSPACE);
            return new Block(n, places, scope.primitive("dnnl_pooling_backward_primitive_desc_create", arguments, max
                    ? new int[] {OneDnnPrimitive.DIFF_DST, OneDnnPrimitive.DIFF_SRC, OneDnnPrimitive.WORKSPACE}
                    : new int[] {OneDnnPrimitive.DIFF_DST, OneDnnPrimitive.DIFF_SRC}));
        }
    }

    private static long activations(OneDnnScope scope, OneDnnPoolingShape shape, long[] dims) {
        return scope.strided(shape.dtype(), dims, OneDnnConvolutionShape.strides(dims, shape.channelsLast()));
    }

    private static MemorySegment dims(OneDnnScope scope, List<Integer> values) {
        return scope.dims(values.stream().mapToLong(Integer::longValue).toArray());
    }

    private static long product(long[] dims) {
        return LongStream.of(dims).reduce(1, Math::multiplyExact);
    }

    private static long align(long bytes) {
        return (bytes + 63) & -64;
    }

    /** The first image of a part. */
    private long begin(int part) {
        return batch * part / whole.length;
    }

    /** Bytes of 64-byte aligned memory that {@link #execute} needs; what they hold means nothing before and after. */
    long workspaceBytes() {
        return whole.length * (indexBytes + yBytes + scratchBytes);
    }

    /**
     * Pools. The first four arguments are addresses: {@code (x, 0, y)} for {@code FORWARD}, {@code (x, dy, dx)} for a maximum's
     * {@code BACKWARD}, {@code (0, dy, dx)} for an average's.
     *
     * @param otherwise does what is left to the caller, from one image to another; called from several threads
     */
    synchronized void execute(long first, long second, long result, long workspace, WorkerPool.RangeBody otherwise) {
        this.first = first;
        this.second = second;
        this.result = result;
        this.workspace = workspace;
        this.otherwise = otherwise;
        WorkerPool.shared().parallelFor(whole.length, runPart);
    }

    private void runPart(int part) {
        long image = begin(part);
        long end = begin(part + 1);
        for (Block block = whole[part]; image + block.images <= end; image += block.images) {
            run(block, image, part);
        }
        if (rest[part] != null) {
            run(rest[part], image, part);
        }
    }

    private void run(Block block, long image, int part) {
        long x = first + image * xImage;
        if (max && !ordinary(x, block.images * xImage / dtype.bytes())) {
            otherwise.run(image, image + block.images);
            return;
        }
        long indices = workspace + part * (indexBytes + yBytes + scratchBytes);
        long maxima = indices + indexBytes;
        long scratch = maxima + yBytes;
        if (!backward) {
            block.main.set(0, x);
            block.main.set(1, result + image * yImage);
        } else {
            if (max) {
                block.places.set(0, x);
                block.places.set(1, maxima);
                block.places.set(2, indices);
                block.places.execute(scratch);
                block.main.set(2, indices);
            }
            block.main.set(0, second + image * yImage);
            block.main.set(1, result + image * xImage);
        }
        block.main.execute(scratch);
    }

    /** Whether {@code n} numbers all lie between, and are not, the least and the greatest finite one: seen by their bits. */
    private boolean ordinary(long address, long n) {
        ByteOrder order = ByteOrder.nativeOrder();
        long i = 0;
        if (dtype == DType.F32) {
            var species = IntVector.SPECIES_PREFERRED;
            IntVector greatest = IntVector.zero(species);
            for (; i + species.length() <= n; i += species.length()) {
                IntVector bits = IntVector.fromMemorySegment(species, Memory.ALL, address + 4 * i, order);
                greatest = greatest.max(bits.and(0x7fffffff));
            }
            int all = greatest.reduceLanes(VectorOperators.MAX);
            for (; i < n; i++) {
                all = Math.max(all, Memory.getInt(address + 4 * i) & 0x7fffffff);
            }
            return all < Float.floatToRawIntBits(Float.MAX_VALUE);
        }
        var species = ShortVector.SPECIES_PREFERRED;
        ShortVector greatest = ShortVector.zero(species);
        for (; i + species.length() <= n; i += species.length()) {
            ShortVector bits = ShortVector.fromMemorySegment(species, Memory.ALL, address + 2 * i, order);
            greatest = greatest.max(bits.and((short) 0x7fff));
        }
        int all = greatest.reduceLanes(VectorOperators.MAX);
        for (; i < n; i++) {
            all = Math.max(all, Memory.getShort(address + 2 * i) & 0x7fff);
        }
        return all < (dtype == DType.BF16 ? 0x7f7f : 0x7bff);
    }
}
