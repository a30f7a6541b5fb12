// The tensors of a large file, of which only those that somebody asks for should take memory.
package dev.heddle.training;

import dev.heddle.engine.Tensor;
import java.util.AbstractMap;
import java.util.AbstractSet;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.function.Supplier;

/** An unmodifiable map whose values are made when they are first read, and kept then. Names can be listed without reading any. */
public final class LazyTensors extends AbstractMap<String, Tensor> {
    private final Map<String, Supplier<Tensor>> makers;
    private final Map<String, Tensor> made = new HashMap<>();

    /** A map that makes its values by these; they are not called here. */
    public LazyTensors(Map<String, Supplier<Tensor>> makers) {
        this.makers = new LinkedHashMap<>(makers);
    }

    @Override
    public synchronized Tensor get(Object name) {
        Supplier<Tensor> maker = makers.get(name);
        return maker == null ? null : made.computeIfAbsent((String) name, n -> maker.get());
    }

    @Override
    public boolean containsKey(Object name) {
        return makers.containsKey(name);
    }

    @Override
    public Set<String> keySet() {
        return java.util.Collections.unmodifiableSet(makers.keySet());
    }

    @Override
    public Set<Entry<String, Tensor>> entrySet() {
        return new AbstractSet<>() {
            @Override
            public Iterator<Entry<String, Tensor>> iterator() {
                Iterator<String> names = makers.keySet().iterator();
                return new Iterator<>() {
                    @Override
                    public boolean hasNext() {
                        return names.hasNext();
                    }

                    @Override
                    public Entry<String, Tensor> next() {
                        String name = names.next();
                        return Map.entry(name, get(name));
                    }
                };
            }

            @Override
            public int size() {
                return makers.size();
            }
        };
    }
}
