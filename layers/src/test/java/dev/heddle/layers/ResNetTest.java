// Residual networks: the published sizes, and a block against its formula.
package dev.heddle.layers;

import static dev.heddle.testing.TensorAssertions.assertClose;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Shape;
import dev.heddle.engine.Tensor;
import dev.heddle.testing.NoLeaks;
import java.util.List;
import org.junit.jupiter.api.Test;

@NoLeaks
class ResNetTest {
    @Test
    void theSizesArePublishedOnes() {
        ResNet small = ResNet.named("resnet18");
        assertEquals(11_689_512, small.parameterCount());
        assertTrue(small.namedParameters().containsKey("layer2.0.downsample.0.weight"), () -> small.namedParameters().keySet().toString());
        assertEquals(Shape.of(128, 64, 1, 1), small.namedParameters().get("layer2.0.downsample.0.weight").shape());
        ResNet large = ResNet.named("resnet50");
        assertEquals(25_557_032, large.parameterCount());
        assertEquals(Shape.of(512, 512, 3, 3), large.namedParameters().get("layer4.0.conv2.weight").shape());
        assertThrows(IllegalArgumentException.class, () -> ResNet.named("resnet19"));
    }

    @Test
    void stagesHalveTheImage() {
        Init.seed(1);
        ResNet model = new ResNet(new ResNet.Config(true, List.of(1, 2), 7, false));
        Tensor y = model.forward(new Generator(2).randn(2, 3, 33, 40)); // (2, 7)
        assertEquals(Shape.of(2, 7), y.shape());
        model.eval();
        assertEquals(Shape.of(1, 7), model.forward(new Generator(2).randn(1, 3, 8, 8)).shape());
    }

    @Test
    void aBlockAddsToItsInput() {
        Init.seed(3);
        Tensor x = new Generator(4).randn(2, 4, 5, 6);
        ResidualBlock same = new ResidualBlock(4, 4, 1, false);
        assertClose(norm(same, "conv2", norm(same, "conv1", x, 1).relu(), 1).add(x).relu(), same.forward(x), 1e-4, 1e-5);
        ResidualBlock wider = new ResidualBlock(4, 3, 2, true); // (2, 12, 3, 3)
        Tensor h = norm(wider, "conv3", norm(wider, "conv2", norm(wider, "conv1", x, 1).relu(), 2).relu(), 1);
        assertClose(h.add(norm(wider, "downsample.0", x, 2)).relu(), wider.forward(x), 1e-4, 1e-5);
        assertEquals(Shape.of(2, 12, 3, 3), wider.forward(x).shape());
    }

    /** A convolution of the block and its norm, whose weight is 1 and bias 0, from sums. */
    private static Tensor norm(ResidualBlock block, String name, Tensor x, int stride) {
        Tensor weight = block.namedParameters().get(name + ".weight").value();
        int padding = (int) weight.dim(2) / 2;
        Tensor y = Functional.conv2d(x, weight, null, stride, padding, 1, 1);
        Tensor centred = y.sub(y.mean(true, 0, 2, 3));
        return centred.div(centred.square().mean(true, 0, 2, 3).add(1e-5).sqrt());
    }
}
