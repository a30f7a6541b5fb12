/**
 * Text as tokens. The tokenizers are those of others: {@link dev.heddle.training.text.TokenizerJson} needs {@code
 * ai.djl.huggingface:tokenizers}, {@link dev.heddle.training.text.Gpt2Tokenizer} needs {@code com.knuddels:jtokkit}; both are
 * optional dependencies.
 */
package dev.heddle.training.text;
